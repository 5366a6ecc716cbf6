// Package admin lets commands speak to a running host: over a socket in a
// folder that only its own user may enter, one JSON object for a request and
// one for its answer. Who is at the other end is checked as well where the
// system tells: the same user or root.
//
// internal/daemon serves the socket and internal/cli asks; what the commands
// mean is theirs. It imports nothing of Perch.
package admin

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Request is what a command asks of a host.
type Request struct {
	Command string `json:"command"`
}

// reply is what comes back: an answer, or why there is none.
type reply struct {
	Answer json.RawMessage `json:"answer,omitempty"`
	Error  string          `json:"error,omitempty"`
}

// Bounds of a conversation. An answer may take as long as the work that it
// tells of.
const (
	maxRequest  = 64 << 10
	maxAnswer   = 64 << 20
	requestTime = 10 * time.Second
)

// Folder is where the sockets of a user's hosts are. getenv looks a variable
// of the environment up.
func Folder(getenv func(string) string) string {
	const run = "/run"
	uid := os.Geteuid()
	if info, err := os.Stat(run); uid == 0 && err == nil && info.IsDir() {
		return filepath.Join(run, "perch")
	}
	if dir := getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "perch")
	}
	if uid < 0 { // Windows, where the folder for temporary files is the user's own
		return filepath.Join(os.TempDir(), "perch")
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("perch-%d", uid))
}

// name begins the names of the sockets of all hosts that serve one file or
// folder, whose absolute path subject is.
func name(subject string) string {
	sum := sha256.Sum256([]byte(subject))
	return hex.EncodeToString(sum[:8]) + "-"
}

const suffix = ".sock"

// path is the socket of one process.
func path(folder, subject string, pid int) string {
	return filepath.Join(folder, fmt.Sprintf("%s%d%s", name(subject), pid, suffix))
}

// sockets returns those of all hosts that serve a subject, or did.
func sockets(folder, subject string) ([]string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("look for running hosts: %w", err)
	}
	var found []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), name(subject)) && strings.HasSuffix(e.Name(), suffix) {
			found = append(found, filepath.Join(folder, e.Name()))
		}
	}
	return found, nil
}

// read reads one JSON object of at most limit bytes.
func read(r io.Reader, limit int64, v any) error {
	return json.NewDecoder(io.LimitReader(r, limit)).Decode(v)
}
