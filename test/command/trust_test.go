package command

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/perchserver/perch/test/harness"
)

// Who has nothing to uninstall is told so.
func TestTrustUninstallOfNothing(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	data := filepath.Join(home, "data")
	run := func(want ...string) {
		t.Helper()
		stdout, stderr, code := harness.CommandEnv(t, home, []string{"HOME=" + home, "XDG_DATA_HOME=" + data, "SUDO_USER="}, "trust", "--uninstall")
		if code != 0 || stdout != "" || strings.Count(stderr, "\n") != 1 {
			t.Errorf("code %d, printed %q and %q", code, stdout, stderr)
		}
		for _, w := range want {
			if !strings.Contains(stderr, w) {
				t.Errorf("%q does not say %q", stderr, w)
			}
		}
	}
	run("there is no authority in "+filepath.Join(data, "perch"), "nothing to take out")
	h := harness.Start(t, harness.Run{Dir: harness.Go().Folder(t), Listen: []string{"https://localhost:0"}})
	h.Get("/") // the authority is made
	authority := filepath.Join(data, "perch", "development-ca.pem")
	if err := os.MkdirAll(filepath.Dir(authority), 0o700); err != nil {
		t.Fatal(err)
	}
	harness.WriteFile(t, authority, harness.ReadFile(t, h.Roots()))
	run("no store of this machine has the authority " + authority)
}

// The authority of root is not the one of the user behind sudo.
func TestTrustBehindSudo(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	_, stderr, code := harness.CommandEnv(t, home, []string{"HOME=" + home, "XDG_DATA_HOME=", "SUDO_USER=ann"}, "trust", "--uninstall")
	if tells := strings.Contains(stderr, "ann has another"); code != 0 || tells != (os.Geteuid() == 0) {
		t.Errorf("code %d, printed %q", code, stderr)
	}
}
