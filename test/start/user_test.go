package start

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/perchserver/perch/test/harness"
)

const nobody = 65534

func uid(t *testing.T, h *harness.Host) int {
	t.Helper()
	var p struct{ Uid int }
	h.JSON("/process", &p)
	return p.Uid
}

// Under root, an application runs as the owner of its folder.
func TestUserOfTheApplication(t *testing.T) {
	t.Parallel()
	dir := harness.Go().Folder(t)
	if os.Getuid() != 0 {
		if got := uid(t, harness.Start(t, harness.Run{Dir: dir})); got != os.Getuid() {
			t.Errorf("the application runs as %d, the host as %d", got, os.Getuid())
		}
		return
	}
	h := harness.Start(t, harness.Run{Dir: dir})
	if got := uid(t, h); got != 0 {
		t.Errorf("the folder is root's, the application runs as %d", got)
	}
	// That it does so is told once, and is no news when it does so still, or
	// again.
	for _, change := range []string{"<configuration />", ""} {
		if change == "" {
			change = harness.ReadFile(t, filepath.Join(harness.Go().Folder(t), "web.config"))
		}
		harness.WriteFile(t, filepath.Join(dir, "web.config"), change)
		if out, errs, code := harness.Command(t, dir, "reload", dir); code != 0 {
			t.Fatalf("perch reload: %d %s%s", code, out, errs)
		}
	}
	h.Stop() // its log is whole
	warnings := 0
	for _, e := range h.Events() {
		if e["level"] == "WARN" && strings.Contains(e.Text(), "root") {
			warnings++
		}
	}
	if warnings != 1 {
		t.Errorf("%d warnings that the application runs as root, want 1", warnings)
	}

	owned := harness.Go().Folder(t)
	for _, name := range []string{"", "app", "web.config"} {
		if err := os.Chown(filepath.Join(owned, name), nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	if got := uid(t, harness.Start(t, harness.Run{Dir: owned})); got != nobody {
		t.Errorf("the folder is %d's, the application runs as %d", nobody, got)
	}
}

// A host without privileges does all the same.
func TestHostWithoutPrivileges(t *testing.T) {
	t.Parallel()
	run := harness.Run{Dir: harness.Go().Folder(t)}
	if os.Getuid() == 0 {
		run.UID = nobody
	}
	h := harness.Start(t, run)
	pid := h.Worker()
	grandchild := h.Get("/spawn")
	if grandchild.StatusCode != 200 {
		t.Fatalf("spawn answered %s", harness.Describe(grandchild.StatusCode, grandchild.Bytes))
	}
	h.Kill9() // the end of the test sees what is left
	harness.Eventually(t, func() bool { return !harness.Alive(pid) }, "the application ends with its host")
}

// What the host was given for itself stays with it.
func TestEnvironmentOfTheHostStays(t *testing.T) {
	t.Parallel()
	mine := []string{"PERCH_LOG_LEVEL=debug", "NOTIFY_SOCKET=/nowhere", "LISTEN_FDNAMES=x", "LISTEN_PID=1"}
	h := harness.Go().Start(t, func(r *harness.Run) { r.Env = append(r.Env, append(mine, "ORDINARY=kept")...) })
	env := h.Env()
	for _, e := range mine {
		name, _, _ := strings.Cut(e, "=")
		if v, ok := env[name]; ok {
			t.Errorf("%s=%s reached the application", name, v)
		}
	}
	if env["ORDINARY"] != "kept" {
		t.Errorf("ORDINARY is %q, want kept", env["ORDINARY"])
	}
}
