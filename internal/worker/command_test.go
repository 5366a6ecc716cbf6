package worker

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// folder makes a folder from paths; those that end in '*' are executable,
// those that end in '/' are folders.
func folder(t *testing.T, files ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, f := range files {
		name, mode := strings.TrimSuffix(f, "*"), os.FileMode(0o644)
		if name != f {
			mode = 0o755
		}
		path := filepath.Join(root, name)
		if strings.HasSuffix(f, "/") {
			if err := os.MkdirAll(path, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("{}"), mode); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestCommand(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("paths and permissions of Unix")
	}
	t.Parallel()
	dotnet := folder(t, "dotnet*", "shared/")
	tests := []struct {
		name  string
		files []string
		path  string
		args  string
		host  []string
		want  []string // %R is the root, %D the folder of dotnet
		err   string   // part of the error, and of its advice after a '|'
	}{
		{name: "ProcessPathAndArgumentsTest back-slash", files: []string{"app*"}, path: `.\app`, want: []string{"%R/app"}},
		{name: ".exe that is not there", files: []string{"app*"}, path: `.\app.exe`, want: []string{"%R/app"}},
		{name: ".exe that is there", files: []string{"app.exe*", "app*"}, path: `.\app.exe`, want: []string{"%R/app.exe"}},
		{name: "a name is looked for in the folder first", files: []string{"node*"}, path: "node", host: []string{"PATH=%D"}, want: []string{"%R/node"}},
		{name: "a folder does not hide PATH", files: []string{"dotnet/", "a.dll"}, path: "dotnet", args: "a.dll", host: []string{"PATH=%D"}, want: []string{"%D/dotnet", "a.dll"}},
		{name: "StartsWithDotnetOnThePath", files: []string{"a.dll"}, path: "dotnet", args: `.\a.dll x\y`, host: []string{"PATH=/nowhere:%D"},
			want: []string{"%D/dotnet", "./a.dll", `x\y`}},
		{name: "StartsWithDotnetUppercase", files: []string{"a.dll"}, path: "DOTNET.EXE", args: "a.dll", host: []string{"PATH=%D"}, want: []string{"%D/dotnet", "a.dll"}},
		{name: "DOTNET_ROOT", files: []string{"a.dll"}, path: "dotnet.exe", args: "a.dll", host: []string{"PATH=/nowhere", "DOTNET_ROOT=%D"}, want: []string{"%D/dotnet", "a.dll"}},
		{name: "home folder", files: []string{"a.dll", "home/.dotnet/dotnet*"}, path: "dotnet", args: "a.dll", host: []string{"HOME=%R/home"},
			want: []string{"%R/home/.dotnet/dotnet", "a.dll"}},
		{name: "a path of Windows to dotnet", files: []string{"a.dll"}, path: `C:\Program Files\dotnet\dotnet.exe`, args: "a.dll", host: []string{"PATH=%D"},
			want: []string{"%D/dotnet", "a.dll"}},
		{name: "a variable of Windows", files: []string{"a.dll"}, path: `%ProgramFiles%\dotnet\dotnet.exe`, args: "a.dll", host: []string{"PATH=%D"},
			want: []string{"%D/dotnet", "a.dll"}},
		{name: "EnvironmentVariableForLauncherPathIsPreferred", files: []string{"a.dll", "app*"}, path: "dotnet", args: "a.dll",
			host: []string{"PATH=%D", "ANCM_LAUNCHER_PATH=./app", "ANCM_LAUNCHER_ARGS=other"}, want: []string{"%R/app", "other"}},
		{name: "an empty launcher is none", files: []string{"a.dll"}, path: "dotnet", args: "a.dll", host: []string{"PATH=%D", "ANCM_LAUNCHER_PATH="},
			want: []string{"%D/dotnet", "a.dll"}},
		{name: "arguments that name files are turned, others not", files: []string{"app*", "conf/x.json"}, path: "app", args: `conf\x.json "DOMAIN\user" \\host\share`,
			want: []string{"%R/app", "conf/x.json", `DOMAIN\user`, `\\host\share`}},

		{name: "empty", err: "processPath is empty"},
		{name: "missing", path: `.\app.exe`, err: "does not exist; looked for %R/app.exe, %R/app|publish the application again"},
		{name: "other case", files: []string{"App*"}, path: "./app", err: `does not exist|The folder holds "App"`},
		{name: "not on PATH", path: "node", host: []string{"PATH=/nowhere"}, err: "PATH|Install node"},
		{name: "a relative folder on PATH", files: []string{"bin/node*"}, path: "node", host: []string{"PATH=bin:."}, err: "does not exist"},
		{name: "an unpublished program, but an assembly", files: []string{"shop.dll", "shop.runtimeconfig.json"}, path: "./shop",
			err: `does not exist|processPath="dotnet" arguments=".\shop.dll"`},
		{name: "folder", files: []string{"app/"}, path: `.\app`, err: "is a folder"},
		{name: "not executable", files: []string{"my app"}, path: `.\my app.exe`, err: "is not executable|chmod +x '%R/my app'"},
		{name: "assembly", files: []string{"a.dll*"}, path: `.\a.dll`, err: `is no program|arguments=".\a.dll"`},
		{name: "foreign path", path: `D:\apps\app.exe`, err: "another system"},
		{name: "missing assembly", files: []string{"b.dll", "b.runtimeconfig.json"}, path: "dotnet", args: `.\a.dll`, host: []string{"PATH=%D"},
			err: `a.dll|arguments=".\b.dll"`},
		{name: "arguments in another letter case", files: []string{"node*", "Lib/server.js", "x"}, path: "node", args: `.\lib\Server.js .\X`, want: []string{"%R/node", "Lib/server.js", "x"}},
		{name: "dotnet without arguments", path: "dotnet", host: []string{"PATH=%D"}, err: "arguments is empty"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			root := folder(t, tt.files...)
			fill := strings.NewReplacer("%R", root, "%D", dotnet)
			s := &Settings{Root: root, ProcessPath: tt.path, Arguments: tt.args}
			for _, v := range tt.host {
				s.Host = append(s.Host, fill.Replace(v))
			}
			e := newEnviron(s)
			c, err := resolver{root: root, lookup: e.lookup}.command(s.commandLine(e))
			if tt.err == "" {
				if err != nil {
					t.Fatal(err)
				}
				var want []string
				for _, w := range tt.want {
					want = append(want, fill.Replace(w))
				}
				if got := append([]string{c.path}, c.args...); !slices.Equal(got, want) {
					t.Errorf("command %q, want %q", got, want)
				}
				return
			}
			text, advice, _ := strings.Cut(fill.Replace(tt.err), "|")
			if err == nil || !strings.Contains(err.Error(), text) {
				t.Fatalf("error %v, want one with %q", err, text)
			}
			var advised *advisedError
			if advice != "" && (!errors.As(err, &advised) || !strings.Contains(strings.Join(advised.advice, "\n"), advice)) {
				t.Errorf("advice %q, want some with %q", advised.advice, advice)
			}
		})
	}
}

func TestDotnetIsNowhere(t *testing.T) {
	t.Parallel()
	r := resolver{root: t.TempDir(), lookup: func(string) (string, bool) { return "", false }}
	if path, err := r.findDotnet(); err == nil {
		t.Skipf("this machine has %s in a usual folder", path)
	} else if !strings.Contains(err.Error(), "was not found on PATH nor in") {
		t.Error(err)
	}
}

func TestMissingFrameworks(t *testing.T) {
	t.Parallel()
	root := folder(t, "dotnet*", "shared/Microsoft.NETCore.App/8.0.11/", "shared/Microsoft.AspNetCore.App/6.0.5/",
		"shared/Microsoft.AspNetCore.App/8.0.10/", "shared/Microsoft.AspNetCore.App/8.1.0-rc.1/", "shared/Microsoft.AspNetCore.App/junk/")
	tests := []struct {
		config string
		env    string // DOTNET_ROLL_FORWARD
		want   string
	}{
		{config: `{"runtimeOptions":{"framework":{"name":"Microsoft.AspNetCore.App","version":"8.0.0"}}}`},
		{config: `{"runtimeOptions":{"framework":{"name":"Microsoft.AspNetCore.App","version":"8.0.10"}}}`},
		{config: `{"runtimeOptions":{"framework":{"name":"Microsoft.AspNetCore.App","version":"8.2.0"}}}`,
			want: "Microsoft.AspNetCore.App 8.2.0 (installed: 6.0.5, 8.0.10, 8.1.0-rc.1 in " + root + ")"},
		{config: `{"runtimeOptions":{"frameworks":[{"name":"Microsoft.NETCore.App","version":"8.0.0"},{"name":"Microsoft.AspNetCore.App","version":"9.0.0"}]}}`,
			want: "Microsoft.AspNetCore.App 9.0.0 (installed: 6.0.5, 8.0.10, 8.1.0-rc.1 in " + root + ")"},
		{config: `{"runtimeOptions":{"framework":{"name":"Microsoft.WindowsDesktop.App","version":"8.0.0"}}}`,
			want: "Microsoft.WindowsDesktop.App 8.0.0 (none is installed in " + root + ")"},
		{config: `{"runtimeOptions":{"framework":{"name":"Microsoft.AspNetCore.App","version":"7.0.0"}}}`,
			want: "Microsoft.AspNetCore.App 7.0.0 (installed: 6.0.5, 8.0.10, 8.1.0-rc.1 in " + root + ")"},
		{config: `{"runtimeOptions":{"rollForward":"Major","framework":{"name":"Microsoft.AspNetCore.App","version":"7.0.0"}}}`},
		{config: `{"runtimeOptions":{"framework":{"name":"Microsoft.AspNetCore.App","version":"7.0.0"}}}`, env: "LatestMajor"},
		{config: `{"runtimeOptions":{"rollForward":"LatestPatch","framework":{"name":"Microsoft.NETCore.App","version":"8.0.12"}}}`,
			want: "Microsoft.NETCore.App 8.0.12 (installed: 8.0.11 in " + root + ")"},
		{config: `{"runtimeOptions":{"rollForward":"disable","framework":{"name":"Microsoft.NETCore.App","version":"8.0.0"}}}`,
			want: "Microsoft.NETCore.App 8.0.0 (installed: 8.0.11 in " + root + ")"},
		{config: `{"runtimeOptions":{"includedFrameworks":[{"name":"Microsoft.NETCore.App","version":"9.0.0"}]}}`},
		{config: `not JSON`},
	}
	for _, tt := range tests {
		file := filepath.Join(t.TempDir(), "a.runtimeconfig.json")
		if err := os.WriteFile(file, []byte(tt.config), 0o644); err != nil {
			t.Fatal(err)
		}
		r := resolver{lookup: func(name string) (string, bool) { return tt.env, name == "DOTNET_ROLL_FORWARD" && tt.env != "" }}
		var got []string
		for _, m := range r.missingFrameworks(command{config: file, dotnet: root}) {
			got = append(got, m.String())
		}
		if text := strings.Join(got, "\n"); text != tt.want {
			t.Errorf("%s: missing %q, want %q", tt.config, text, tt.want)
		}
	}
}

// What a start would fail by is told beforehand, where it can be.
func TestCheckCommand(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("programs of Unix")
	}
	t.Parallel()
	dotnet := folder(t, "dotnet*", "shared/Microsoft.NETCore.App/3.1.9/")
	elsewhere := folder(t, "dotnet*")
	config := `{"runtimeOptions":{"framework":{"name":"Microsoft.NETCore.App","version":"8.0.0"}}}`
	for _, c := range []struct {
		name, path, args, host, program string
		mode                            os.FileMode
		want                            string // of the error, and of its advice after a '|'
	}{
		{name: "a Windows program", path: `.\app.exe`, program: "MZ\x90", mode: 0o755, want: "program for Windows|dotnet publish"},
		{name: "a Windows program that is not executable", path: `.\app.exe`, program: "MZ\x90", mode: 0o644, want: "program for Windows|dotnet publish"},
		{name: "a script", path: `.\app.exe`, program: "#!/bin/sh\n", mode: 0o755},
		{name: "a missing framework", path: "dotnet", args: `.\a.dll`, host: dotnet, want: "missing framework Microsoft.NETCore.App 8.0.0 (installed: 3.1.9 in|Install the .NET runtime 8.0"},
		{name: "frameworks are elsewhere", path: "dotnet", args: `.\a.dll`, host: elsewhere},
	} {
		root := folder(t, "a.dll")
		for name, text := range map[string]string{"app.exe": c.program, "a.runtimeconfig.json": config} {
			if err := os.WriteFile(filepath.Join(root, name), []byte(text), max(c.mode, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		s := &Settings{Root: root, ProcessPath: c.path, Arguments: c.args, Host: []string{"PATH=" + c.host}}
		advice, err := s.CheckCommand()
		problem, way, _ := strings.Cut(c.want, "|")
		if (err != nil) != (c.want != "") || err != nil && (!strings.Contains(err.Error(), problem) || !strings.Contains(strings.Join(advice, "\n"), way)) {
			t.Errorf("%s: %v %q, want %s", c.name, err, advice, c.want)
		}
	}
}

func TestMissingFrameworkAdvice(t *testing.T) {
	t.Parallel()
	m := MissingFramework{Name: "Microsoft.AspNetCore.App", Version: "8.0.3"}
	if got, want := m.advice(), "Install the ASP.NET Core runtime 8.0: https://dotnet.microsoft.com/download/dotnet/8.0"; got != want {
		t.Errorf("advice %q, want %q", got, want)
	}
}
