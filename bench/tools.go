package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// tools are the programs that take part, by path.
type tools struct {
	perch, backend, reverseProxy, inline string // built
	nginx, haproxy, caddy, wrk, h2load   string // found
	unpacked                             string // root of Debian packages that are not installed
	module                               string // root of the repository
}

// prepareTools builds our programs and finds the others.
func prepareTools(ctx context.Context, o options) (tools, error) {
	t := tools{unpacked: filepath.Join(o.cache, "debian"), perch: o.perch}
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/perchserver/perch").Output()
	if err != nil {
		return t, fmt.Errorf("the bench runs in the root of the repository: %w", err)
	}
	t.module = strings.TrimSpace(string(out))
	bin := filepath.Join(o.cache, "bin")
	for _, b := range []struct {
		path     *string
		dir, pkg string
	}{
		{&t.perch, t.module, "./cmd/perch"},
		{&t.backend, filepath.Join(t.module, "bench"), "./backend"},
		{&t.reverseProxy, filepath.Join(t.module, "bench"), "./reverseproxy"},
		{&t.inline, filepath.Join(t.module, "bench"), "./inline"},
	} {
		if *b.path != "" {
			continue
		}
		*b.path = filepath.Join(bin, filepath.Base(b.pkg))
		c := exec.CommandContext(ctx, "go", "build", "-o", *b.path, b.pkg)
		c.Dir = b.dir
		if out, err := c.CombinedOutput(); err != nil {
			return t, fmt.Errorf("build %s: %w\n%s", b.pkg, err, out)
		}
	}
	for name, path := range map[string]*string{"nginx": &t.nginx, "haproxy": &t.haproxy, "caddy": &t.caddy, "wrk": &t.wrk, "h2load": &t.h2load} {
		if *path = t.find(name); *path == "" {
			return t, fmt.Errorf("%s is missing: bench/tools/install.sh unpacks it", name)
		}
	}
	return t, nil
}

// find looks for a program among the unpacked packages and on the PATH.
func (t tools) find(name string) string {
	for _, dir := range []string{t.unpacked + "/usr/sbin", t.unpacked + "/usr/bin"} {
		if p, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return p
		}
	}
	for _, name := range []string{name, "/usr/sbin/" + name} {
		if p, err := exec.LookPath(name); err == nil {
			return p
		}
	}
	return ""
}

// debian returns the command of a program that may come from an unpacked
// package, with the libraries beside it.
func (t tools) debian(program string, args ...string) *exec.Cmd {
	c := exec.Command(program, args...)
	if strings.HasPrefix(program, t.unpacked) {
		libraries, _ := filepath.Glob(filepath.Join(t.unpacked, "usr/lib/*-linux-gnu*"))
		c.Env = append(os.Environ(), "LD_LIBRARY_PATH="+strings.Join(libraries, ":"))
	}
	return c
}

var versionNumber = regexp.MustCompile(`\d+(\.\d+)+`)

// versions returns what is compared, as each program names itself.
func (t tools) versions(ctx context.Context) map[string]string {
	v := map[string]string{}
	for name, c := range map[string]*exec.Cmd{
		"nginx":   t.debian(t.nginx, "-v"),
		"haproxy": t.debian(t.haproxy, "-v"),
		"caddy":   t.debian(t.caddy, "version"),
		"go":      exec.CommandContext(ctx, "go", "env", "GOVERSION"),
		"perch":   exec.CommandContext(ctx, "git", "-C", t.module, "describe", "--always", "--dirty"),
	} {
		out, _ := c.CombinedOutput()
		v[name] = string(bytes.TrimSpace(out))
		if number := versionNumber.FindString(v[name]); number != "" && name != "perch" {
			v[name] = number
		}
	}
	return v
}
