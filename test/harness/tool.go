package harness

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Tool is a program that is no part of Perch and that tests need.
type Tool struct {
	Path string
	Env  []string // what it needs in its environment besides
}

// FindTool finds a program among the Debian packages that `make tools` has
// unpacked, which are not installed, and then on the PATH.
func FindTool(t testing.TB, name string) Tool {
	t.Helper()
	root := cache("tools", "debian")
	for _, dir := range []string{"usr/lib/chromium", "usr/bin"} { // what is in bin may be a script that knows one place alone
		if path := filepath.Join(root, dir, name); exists(path) {
			return Tool{path, unpacked(root)}
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		Lack(t, "%s is not there; `make tools` unpacks it", name)
	}
	return Tool{Path: path}
}

// unpacked is the environment of a program whose libraries are below root.
func unpacked(root string) []string {
	var libraries []string
	for _, pattern := range []string{"lib/*-linux-gnu", "usr/lib/*-linux-gnu", "usr/lib/*-linux-gnu/pulseaudio"} {
		found, _ := filepath.Glob(filepath.Join(root, pattern))
		libraries = append(libraries, found...)
	}
	return []string{"LD_LIBRARY_PATH=" + strings.Join(libraries, ":")}
}

// Run runs the program to its end, which must be a good one, and returns what
// it wrote.
func (p Tool) Run(t testing.TB, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.Path, args...)
	cmd.Env = append(os.Environ(), p.Env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", p.Path, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// NodeModules is the folder of the npm packages that the Node application has.
func NodeModules(t testing.TB) string {
	t.Helper()
	dir := cache("apps", "node", "node_modules")
	if !exists(dir) {
		Lack(t, "the packages of the Node application are not there; `make fixtures` installs them")
	}
	return dir
}
