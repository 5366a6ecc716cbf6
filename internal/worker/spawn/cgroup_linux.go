package spawn

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cgroup is a control group, version 2, of our own. Membership in it is exact:
// a process cannot leave without the rights of an administrator. No controller
// is switched on in it.
type cgroup struct{ dir string }

// newCgroup makes the guardian's own group, in which each worker gets one.
// The error says why this machine, or whoever started us, does not allow it.
func newCgroup() (*cgroup, error) {
	own, err := ownCgroup()
	if err != nil {
		return nil, err
	}
	if err := delegated(own); err != nil {
		return nil, err
	}
	// Several process id spaces may share the folder, hence the time.
	name := "perch-" + strconv.Itoa(os.Getpid()) + "-" + strconv.FormatInt(time.Now().UnixNano(), 36)
	c := &cgroup{dir: filepath.Join(own, name)}
	if err := os.Mkdir(c.dir, 0o755); err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(c.dir, "cgroup.kill")); err != nil {
		c.remove()
		return nil, errors.New("cgroup.kill needs Linux 5.14")
	}
	return c, nil
}

// ownCgroup returns the folder of the control group that this process is in.
func ownCgroup() (string, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	root, point, err := findCgroup2(mounts)
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		path, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::")
		if !ok {
			continue
		}
		below, err := filepath.Rel(root, path)
		if err != nil || below == ".." || strings.HasPrefix(below, "../") {
			return "", fmt.Errorf("control group %s is outside of the mounted %s", path, root)
		}
		return filepath.Join(point, below), nil
	}
	return "", errors.New("the process is in no control group of version 2")
}

// findCgroup2 returns the root and the mount point of the first cgroup2 file
// system in /proc/self/mountinfo (proc_pid_mountinfo(5)).
func findCgroup2(mounts []byte) (root, point string, err error) {
	for line := range bytes.Lines(mounts) {
		before, after, ok := strings.Cut(string(line), " - ")
		fields := strings.Fields(before)
		if !ok || len(fields) < 5 || !strings.HasPrefix(after, "cgroup2 ") {
			continue
		}
		return unescapeMount(fields[3]), unescapeMount(fields[4]), nil
	}
	return "", "", errors.New("no cgroup2 file system is mounted")
}

// unescapeMount undoes the kernel's octal escapes: \040 is a space.
func unescapeMount(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// delegated applies systemd's rule of one writer: below a unit the tree is
// systemd's alone, unless the unit says Delegate=yes, which systemd marks by
// an extended attribute (CGROUP_DELEGATION.md). Groups that are not units are
// judged by the rights on their folder alone.
func delegated(dir string) error {
	switch filepath.Ext(dir) {
	case ".service", ".scope", ".slice":
	default:
		return nil
	}
	for _, attr := range []string{"user.delegate", "trusted.delegate"} {
		var value [1]byte
		if n, err := unix.Getxattr(dir, attr, value[:]); err == nil && n == 1 && value[0] == '1' {
			return nil
		}
	}
	return fmt.Errorf("the unit %s has no Delegate=yes", filepath.Base(dir))
}

// child makes a group below c.
func (c *cgroup) child(name string) (*cgroup, error) {
	child := &cgroup{dir: filepath.Join(c.dir, name)}
	return child, os.Mkdir(child.dir, 0o755)
}

// name is the unique end of the group's path: the guardian's folder and the
// worker's.
func (c *cgroup) name() string {
	return filepath.Join(filepath.Base(filepath.Dir(c.dir)), filepath.Base(c.dir))
}

// kill sends SIGKILL to every process in c and below, at one moment, so that
// none can escape by forking.
func (c *cgroup) kill() error {
	return os.WriteFile(filepath.Join(c.dir, "cgroup.kill"), []byte("1"), 0)
}

// remove removes c and what was made below it. It fails while a process is in
// there. A group that does not exist is removed.
func (c *cgroup) remove() error {
	entries, err := os.ReadDir(c.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := (&cgroup{dir: filepath.Join(c.dir, e.Name())}).remove(); err != nil {
				return err
			}
		}
	}
	return os.Remove(c.dir)
}
