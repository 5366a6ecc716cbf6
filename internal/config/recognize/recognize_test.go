package recognize

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What the SDK writes for each kind of application (names and versions aside).
const (
	webConfigFile = `{
  "runtimeOptions": {
    "tfm": "netcoreapp3.1",
    "framework": {
      "name": "Microsoft.AspNetCore.App",
      "version": "3.1.0"
    },
    "configProperties": {
      "System.GC.Server": true
    }
  }
}`
	webTwoFrameworks = `{
  "runtimeOptions": {
    "tfm": "net8.0",
    "frameworks": [
      {
        "name": "Microsoft.NETCore.App",
        "version": "8.0.0"
      },
      {
        "name": "Microsoft.AspNetCore.App",
        "version": "8.0.0"
      }
    ]
  }
}`
	consoleFile = `{
  "runtimeOptions": {
    "tfm": "net8.0",
    "framework": {
      "name": "Microsoft.NETCore.App",
      "version": "8.0.0"
    }
  }
}`
	selfContainedFile = `{
  "runtimeOptions": {
    "tfm": "net8.0",
    "includedFrameworks": [
      {
        "name": "Microsoft.NETCore.App",
        "version": "8.0.1"
      },
      {
        "name": "Microsoft.AspNetCore.App",
        "version": "8.0.1"
      }
    ]
  }
}`
)

// The begins of programs.
const (
	elfFile = "\x7fELF\x02\x01\x01\x00 the rest"
	peFile  = "MZ\x90\x00 the rest"
	machO   = "\xcf\xfa\xed\xfe the rest"
)

// nativeFile and foreignFile are programs of this system and of another.
func nativeFile() string {
	return map[format]string{elf: elfFile, pe: peFile, mach: machO}[native]
}

func foreignFile() string {
	if native == pe {
		return elfFile
	}
	return peFile
}

// bundle is a program with the marker of .NET, which begins at an offset of
// the file and says where the bundle begins.
func bundle(t *testing.T, program string, at int, offset uint64) string {
	t.Helper()
	marker, err := hex.DecodeString("8b1202b96a612038727b930214d7a03213f5b9e6efae3318ee3b2dce24b36aae")
	if err != nil {
		t.Fatal(err)
	}
	data := append([]byte(program), make([]byte, at-len(program)-8)...)
	data = binary.LittleEndian.AppendUint64(data, offset)
	return string(append(append(data, marker...), "bundle"...))
}

func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		full := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFolder(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		files map[string]string
		want  App // Why is compared by part
	}{
		{"framework-dependent",
			map[string]string{"app.dll": "", "app.deps.json": "{}", "app.runtimeconfig.json": webConfigFile, "appsettings.json": "{}", "wwwroot/index.html": ""},
			App{DotNet, "aspNetCore", "dotnet", `.\app.dll`, nil, "app.runtimeconfig.json"}},
		{"framework-dependent-with-apphost",
			map[string]string{"Contoso.Web": nativeFile(), "Contoso.Web.dll": "", "Contoso.Web.runtimeconfig.json": "\uFEFF" + webTwoFrameworks, "Contoso.Web.runtimeconfig.dev.json": "{"},
			App{DotNet, "aspNetCore", "dotnet", `.\Contoso.Web.dll`, nil, "framework-dependent"}},
		{"blank-in-the-name",
			map[string]string{"my app.dll": "", "my app.runtimeconfig.json": webConfigFile},
			App{DotNet, "aspNetCore", "dotnet", `".\my app.dll"`, nil, "my app"}},
		{"console-application",
			map[string]string{"app.dll": "", "app.runtimeconfig.json": consoleFile},
			App{DotNet, "aspNetCore", "dotnet", `.\app.dll`, nil, "app"}},
		{"web-with-a-tool-beside-it",
			map[string]string{"web.dll": "", "web.runtimeconfig.json": webTwoFrameworks, "tool.dll": "", "tool.runtimeconfig.json": consoleFile},
			App{DotNet, "aspNetCore", "dotnet", `.\web.dll`, nil, "web"}},
		{"with-the-package-json-of-its-front-end",
			map[string]string{"app.dll": "", "app.runtimeconfig.json": webConfigFile, "package.json": `{"scripts":{"start":"vite"}}`},
			App{DotNet, "aspNetCore", "dotnet", `.\app.dll`, nil, "app"}},
		{"self-contained",
			map[string]string{"app": nativeFile(), "app.dll": "", "app.runtimeconfig.json": selfContainedFile, "createdump": nativeFile()},
			App{DotNetOwn, "aspNetCore", `.\app`, "", nil, "self-contained"}},
		{"self-contained-by-hostfxr",
			map[string]string{"app": nativeFile(), "app.dll": "", "app.runtimeconfig.json": webConfigFile, "libhostfxr.so": elfFile},
			App{DotNetOwn, "aspNetCore", `.\app`, "", nil, "self-contained"}},
		{"single-file",
			map[string]string{"My.App": bundle(t, nativeFile(), 100, 50), "appsettings.json": "{}", "libe_sqlite3.so": elfFile},
			App{DotNetSingle, "aspNetCore", `.\My.App`, "", nil, "single-file"}},
		{"marker-across-a-block",
			map[string]string{"app": bundle(t, nativeFile(), 1<<20-5, 50), "index.html": ""},
			App{DotNetSingle, "aspNetCore", `.\app`, "", nil, "single-file"}},
		{"marker-and-offset-around-a-block",
			map[string]string{"app": bundle(t, nativeFile(), 1<<20-30, 50)},
			App{DotNetSingle, "aspNetCore", `.\app`, "", nil, "single-file"}},
		{"offset-across-a-block",
			map[string]string{"app": bundle(t, nativeFile(), 1<<20+3, 50)},
			App{DotNetSingle, "aspNetCore", `.\app`, "", nil, "single-file"}},
		{"node",
			map[string]string{"package.json": `{"name":"x","scripts":{"start":"node server.js --verbose"}}`},
			App{Node, "httpPlatform", "node", "server.js --verbose", nil, "node server.js"}},
		{"node-with-variables",
			map[string]string{"package.json": `{"scripts":{"start":"NODE_ENV=production node --max-old-space-size=512 ./dist/main.js"}}`},
			App{Node, "httpPlatform", "node", "--max-old-space-size=512 ./dist/main.js", []Variable{{"NODE_ENV", "production"}}, "package.json"}},
		{"node-package-program",
			map[string]string{"package.json": `{"scripts":{"start":"next start"}}`},
			App{Node, "httpPlatform", "npm", "start", nil, "package.json"}},
		{"node-with-shell",
			map[string]string{"package.json": `{"scripts":{"start":"node a.js && node b.js"}}`},
			App{Node, "httpPlatform", "npm", "start", nil, "package.json"}},
		{"node-with-hook",
			map[string]string{"package.json": `{"scripts":{"start":"node a.js","prestart":"node build.js"}}`},
			App{Node, "httpPlatform", "npm", "start", nil, "package.json"}},
		{"node-without-script",
			map[string]string{"package.json": `{}`, "server.js": ""},
			App{Node, "httpPlatform", "node", "server.js", nil, "server.js is there"}},
		{"procfile",
			map[string]string{"Procfile": "worker: ./work\nweb: ./server -port $PORT\n"},
			App{Procfile, "httpPlatform", "./server", "-port %HTTP_PLATFORM_PORT%", nil, "./server -port $PORT"}},
		{"procfile-before-others",
			map[string]string{"Procfile": "web: exec dotnet app.dll --urls http://127.0.0.1:${PORT}", "app.dll": "", "app.runtimeconfig.json": webConfigFile},
			App{Procfile, "httpPlatform", "dotnet", "app.dll --urls http://127.0.0.1:%HTTP_PLATFORM_PORT%", nil, "Procfile"}},
		{"procfile-windows-lines",
			map[string]string{"Procfile": "\uFEFFweb:  A=1 PORT2=$PORT ./server\r\n"},
			App{Procfile, "httpPlatform", "./server", "", []Variable{{"A", "1"}, {"PORT2", "%HTTP_PLATFORM_PORT%"}}, "Procfile"}},
		{"procfile-with-shell",
			map[string]string{"Procfile": `web: gunicorn "app:make()" -b :$PORT`},
			App{Procfile, "httpPlatform", shell, shellOption + ` "gunicorn \"app:make()\" -b :$PORT"`, nil, "gunicorn"}},
		{"procfile-other-variable",
			map[string]string{"Procfile": `web: ./server $PORTS`},
			App{Procfile, "httpPlatform", shell, shellOption + ` "./server $PORTS"`, nil, "Procfile"}},
		{"procfile-python",
			map[string]string{"Procfile": "web: gunicorn app:app --bind 127.0.0.1:$PORT", "app.py": "", "requirements.txt": ""},
			App{Procfile, "httpPlatform", "gunicorn", "app:app --bind 127.0.0.1:%HTTP_PLATFORM_PORT%", nil, "Procfile"}},
		{"procfile-without-web",
			map[string]string{"Procfile": "worker: ./work\n", "index.html": ""},
			App{Static, "", "", "", nil, "index.html"}},
		{"files",
			map[string]string{"Index.HTML": "", "site.css": "", "package.json": `{"scripts":{"build":"x"}}`},
			App{Static, "", "", "", nil, "index.html is a default document"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := Folder(write(t, tt.files))
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(got.Why, tt.want.Why) {
				t.Errorf("why: %s", got.Why)
			}
			if got.Kind != tt.want.Kind || got.Section != tt.want.Section || got.ProcessPath != tt.want.ProcessPath ||
				got.Arguments != tt.want.Arguments || !slices.Equal(got.Environment, tt.want.Environment) {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestFolderRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		files map[string]string
		want  []string // parts of the error
	}{
		{"empty", nil, []string{"nothing to host", "web.config", "Procfile", "runtimeconfig.json", "package.json", "index.html"}},
		{"sites", map[string]string{"perch.config": ""}, []string{"nothing to host but the sites of its perch.config", "--config "}},
		{"sites-of-iis", map[string]string{"ApplicationHost.config": ""}, []string{"nothing to host but the sites of its ApplicationHost.config", "--config "}},
		{"no-dll", map[string]string{"app.runtimeconfig.json": webConfigFile}, []string{"no app.dll beside it", "publish"}},
		{"no-program", map[string]string{"app.runtimeconfig.json": selfContainedFile, "app.dll": "", "app": "text"}, []string{"its program app is not there"}},
		{"other-system", map[string]string{"app.runtimeconfig.json": selfContainedFile, "app.dll": "", "app.exe": foreignFile()}, []string{"app.exe was published for ", "-r " + nativeSystem}},
		{"other-single-file", map[string]string{"app.exe": bundle(t, foreignFile(), 100, 50), "index.html": ""}, []string{"app.exe was published for "}},
		{"two-applications", map[string]string{"a.runtimeconfig.json": webConfigFile, "a.dll": "", "b.runtimeconfig.json": webTwoFrameworks, "b.dll": ""},
			[]string{"several .NET applications (a, b)", "Procfile"}},
		{"two-tools", map[string]string{"a.runtimeconfig.json": consoleFile, "a.dll": "", "b.runtimeconfig.json": consoleFile, "b.dll": ""}, []string{"(a, b)"}},
		{"two-single-files", map[string]string{"a": bundle(t, nativeFile(), 64, 50), "b": bundle(t, nativeFile(), 64, 50)}, []string{"(a, b)", "./a"}},
		{"bad-runtimeconfig", map[string]string{"app.dll": "", "app.runtimeconfig.json": "{\n  \"runtimeOptions\": [}\n"}, []string{"app.runtimeconfig.json:2:22:", "publish"}},
		{"bad-package-json", map[string]string{"package.json": "{\n \"scripts\": { \"start\" \"x\" } }", "index.html": ""}, []string{"package.json:2:23:"}},
		{"number-for-a-script", map[string]string{"package.json": `{"scripts":{"start":5}}`}, []string{"package.json:1:", "scripts.start is a number"}},
		{"empty-web-line", map[string]string{"Procfile": "a: b\nweb: \n"}, []string{"Procfile:2:5:", "no command"}},
		{"two-web-lines", map[string]string{"Procfile": "web: a\nweb: b\n"}, []string{"Procfile:2:1:", "first is line 1"}},
		{"python", map[string]string{"app.py": "", "requirements.txt": "", "index.html": ""}, []string{"app.py", "Procfile", "`web: python app.py`", "PORT"}},
		{"plain-program", map[string]string{"server": nativeFile(), "index.html": ""}, []string{"server is a program", "`web: ./server`"}},
		{"apphost-alone", map[string]string{"app": bundle(t, nativeFile(), 64, 0)}, []string{"app is a program"}},
		{"framework", map[string]string{"Global.asax": "", "index.html": ""}, []string{"Global.asax", ".NET Framework", "ASP.NET Core"}},
		{"source", map[string]string{"app.csproj": "", "index.html": ""}, []string{"source of the .NET project app", "dotnet publish"}},
		{"go-source", map[string]string{"go.mod": "", "main.go": ""}, []string{"source of a Go program"}},
		{"wwwroot", map[string]string{"wwwroot/index.html": ""}, []string{"name the folder wwwroot"}},
		{"folder-for-a-file", map[string]string{"index.html/x": "", "Procfile/x": ""}, []string{"nothing to host"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := write(t, tt.files)
			app, err := Folder(dir)
			if err == nil {
				t.Fatalf("recognised %+v", app)
			}
			for _, part := range append(tt.want, dir) {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error lacks %q: %v", part, err)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than a line: %v", err)
			}
		})
	}
}

func TestNotAFolder(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{"app.dll": ""})
	if _, err := Folder(filepath.Join(dir, "missing")); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Error(err)
	}
	if _, err := Folder(filepath.Join(dir, "app.dll")); err == nil || !strings.Contains(err.Error(), "is a file") {
		t.Error(err)
	}
}

func TestQuote(t *testing.T) {
	t.Parallel()
	// The examples of the rules by which Windows takes a command line apart.
	for want, words := range map[string][]string{
		`a b`:             {"a", "b"},
		`"a b" c`:         {"a b", "c"},
		`""`:              {""},
		`"a\"b"`:          {`a"b`},
		`a\b`:             {`a\b`},
		`"a b\\"`:         {`a b\`},
		`"a\\\"b c"`:      {`a\"b c`},
		`"\\server\a b"`:  {`\\server\a b`},
		`C:\dir\ "x	y" z`: {`C:\dir\`, "x\ty", "z"},
	} {
		if got := quote(words...); got != want {
			t.Errorf("quote(%q) = %s, want %s", words, got, want)
		}
	}
}

func FuzzPlain(f *testing.F) {
	for _, s := range []string{"node server.js", "A=1 B=$PORT ./x ${PORT}", "exec a", "exec", "$PORT", "=x y", "a 'b c'", "1A=b c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, command string) {
		c, ok := plain(command)
		if !ok {
			return
		}
		if len(c.words) == 0 {
			t.Fatalf("plain(%q) has no words", command)
		}
		for _, w := range c.words {
			if w == "" || bytes.ContainsAny([]byte(strings.ReplaceAll(w, portVariable, "")), " \t\n'\"\\`$&|;<>()*?%") {
				t.Errorf("plain(%q) has the word %q", command, w)
			}
		}
		for _, v := range c.environment {
			if !isVariable(v.Name) {
				t.Errorf("plain(%q) has the variable %q", command, v.Name)
			}
		}
	})
}
