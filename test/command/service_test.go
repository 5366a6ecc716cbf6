package command

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/perchserver/perch/test/harness"
)

// The unit files of docs/service.md are what systemd understands without a
// complaint, and what they run is what perch understands.
func TestServiceUnits(t *testing.T) {
	t.Parallel()
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		harness.Lack(t, "systemd-analyze is not there")
	}
	doc := harness.ReadFile(t, filepath.Join(harness.Root(), "docs", "service.md"))
	d := newDesk(t)
	d.edit("site", "add", "shop", "--path", "shop", "--listen", "http://127.0.0.1:0")
	real := strings.NewReplacer("/usr/local/bin/perch", harness.Binary(), "/etc/perch/perch.config", d.file, "/srv/shop", filepath.Join(d.dir, "shop"))
	units := unitFiles(doc)
	if len(units) != 2 {
		t.Fatalf("the page has %d unit files, want 2", len(units))
	}
	for _, unit := range units {
		unit = real.Replace(unit)
		path := filepath.Join(t.TempDir(), "perch.service")
		harness.WriteFile(t, path, unit)
		if out, err := exec.Command(analyze, "verify", path).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%v: %s of\n%s", err, out, unit)
		}
		run := harness.Run{Dir: d.dir, Lines: 1}
		switch args := strings.Fields(line(unit, "ExecStart="))[1:]; {
		case len(args) == 3 && args[0] == "run" && args[1] == "--config":
			run.Config = args[2]
		case len(args) == 4 && args[0] == "run" && args[2] == "--listen":
			run.Dir, run.Listen = args[1], []string{strings.Replace(args[3], ":80", ":0", 1)}
		default:
			t.Fatalf("the unit runs %q", args)
		}
		h := harness.Start(t, run)
		if out, err := exec.Command(harness.Binary(), strings.Fields(line(unit, "ExecReload="))[1:]...).CombinedOutput(); err != nil {
			t.Errorf("the reload of the unit: %v, %s", err, out)
		}
		if code := h.Stop(); code != 0 {
			t.Errorf("exit code %d", code)
		}
	}
}

// unitFiles returns the examples of a page that are unit files.
func unitFiles(page string) (units []string) {
	var text strings.Builder
	for l := range strings.Lines(page + "end\n") {
		switch example, ok := strings.CutPrefix(l, "    "); {
		case ok:
			text.WriteString(example)
		case l == "\n":
			text.WriteString(l)
		default:
			if strings.Contains(text.String(), "[Unit]\n") {
				units = append(units, text.String())
			}
			text.Reset()
		}
	}
	return units
}

// line returns what follows a word at the beginning of a line.
func line(text, word string) string {
	_, rest, _ := strings.Cut(text, "\n"+word)
	value, _, _ := strings.Cut(rest, "\n")
	return value
}
