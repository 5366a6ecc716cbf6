package worker

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/worker/spawn"
)

// fact returns a named fact of a report.
func fact(r exchange.Report, name string) string {
	for _, f := range r.Facts {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

func TestStartErrorTellsItself(t *testing.T) {
	t.Parallel()
	e := &StartError{
		Application: "shop", Folder: "/srv/shop", Step: StepListen, Err: fmt.Errorf("port 12345: %w of 2m0s", errNotListening), Attempts: 2,
		Journey: []StepTime{{StepSpawn, 300 * time.Microsecond}, {StepListen, 2 * time.Minute}},
		Command: []string{"/usr/bin/dotnet", "my app.dll"}, Port: 12345, Output: "Now listening on: http://localhost:5000\n",
		Listens: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:5000"), netip.MustParseAddrPort("[::1]:5000")},
	}
	r := e.Report()
	for name, want := range map[string]string{
		"Application": "shop",
		"Listens on":  "127.0.0.1:5000, [::1]:5000 instead of 127.0.0.1:12345",
		"Command":     "/usr/bin/dotnet 'my app.dll'",
		"Folder":      "/srv/shop",
		"Attempts":    "2",
		"Port":        "12345",
		"Time taken":  "wait for the listening port 2m0s",
		"Problem":     "port 12345: no listener within the startup time limit of 2m0s",
	} {
		if got := fact(r, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if r.Step != "wait for the listening port" || r.Output != e.Output || len(r.Advice) != 1 {
		t.Errorf("report %+v", r)
	}
}

func TestStartErrorAdvice(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		err  StartError
		want string // in the first advice
	}{
		{"runtime", StartError{Exit: &spawn.Exit{Code: 150}, Missing: []MissingFramework{{Name: "Microsoft.AspNetCore.App", Version: "9.0.0"}}}, "Install the ASP.NET Core runtime 9.0"},
		{"exit", StartError{Exit: &spawn.Exit{Code: 1}}, "Read its last output"},
		{"silence", StartError{Err: errNotListening}, "startupTimeLimit"},
		{"elsewhere", StartError{Err: errNotListening, Port: 7, Listens: []netip.AddrPort{{}}}, "now 7"},
		{"own advice first", StartError{Advice: []string{"do this"}}, "do this"},
	}
	for _, tt := range tests {
		if tt.err.Err == nil {
			tt.err.Err = fmt.Errorf("cause")
		}
		if got := tt.err.Report().Advice; len(got) == 0 || !strings.Contains(got[0], tt.want) {
			t.Errorf("%s: advice %q, want some with %q", tt.name, got, tt.want)
		}
	}
}

func TestSpawnAdvice(t *testing.T) {
	t.Parallel()
	for reason, want := range map[spawn.Reason]string{
		spawn.MissingFile: "Publish", spawn.MissingInterpreter: "linux-musl-x64", spawn.NotExecutable: "chmod +x /srv/app",
		spawn.WrongFormat: "processor", spawn.NoPermission: "read /srv/app", spawn.BadUser: "root",
	} {
		err := fmt.Errorf("spawn: %w", &spawn.Error{Reason: reason, Path: "/srv/app"})
		if got := strings.Join(spawnAdvice(err), " "); !strings.Contains(got, want) {
			t.Errorf("reason %d: advice %q, want some with %q", reason, got, want)
		}
	}
	if got := spawnAdvice(fmt.Errorf("other")); got != nil {
		t.Errorf("advice %q without a reason", got)
	}
}

func TestLastLines(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"": "", "a": "a", "a\nb\nc\n": "b\nc", "\n\n": "", "a\nb": "a\nb"} {
		if got := lastLines(text, 2); got != want {
			t.Errorf("lastLines(%q) = %q, want %q", text, got, want)
		}
	}
}
