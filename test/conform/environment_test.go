package conform

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/perchserver/perch/test/harness"
)

// Section 8.1: configuration, environment, error pages.

func TestExpandEnvironmentVariableInWebConfig(t *testing.T) {
	t.Parallel()
	dir := harness.Go().Folder(t)
	harness.WebConfig{Attrs: map[string]string{"processPath": "%ProgramFolder%/app"}}.Write(t, dir)
	h := harness.Start(t, harness.Run{Dir: dir, Env: []string{"ProgramFolder=" + dir}})
	h.Worker()
}

func TestInvalidProcessPath_ExpectServerError(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ path, arguments, tell string }{
		"Bogus":           {"inval!d", "", "inval!d"},
		"MissingDotnet":   {"/inval!d/dotnet", `.\app.dll`, "inval!d"},
		"RelativeDotnet":  {`.\inval!d\dotnet.exe`, `.\app.dll`, "inval!d"},
		"DotnetAlone":     {"dotnet", "", "dotnet"},
		"Zip":             {"app.zip", "", "app.zip"},
		"MissingAbsolute": {"/inval!d/app", "", "inval!d"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := harness.DotNet()
			h := app.Start(t, harness.WebConfig{Attrs: map[string]string{"processPath": c.path, "arguments": c.arguments}}.Use(t))
			r := h.Get("/")
			if r.StatusCode != 502 || !strings.Contains(r.Text(), "502.5") || !strings.Contains(r.Text(), c.tell) {
				t.Errorf("answered %s, want 502.5 and a word about %q", harness.Describe(r.StatusCode, r.Bytes), c.tell)
			}
			h.AwaitEvent(1020)
		})
	}
}

func TestCheckInvalidHostingModelParameter(t *testing.T) {
	t.Parallel()
	h := start(t, harness.WebConfig{Attrs: map[string]string{"hostingModel": "bogus"}})
	if r := h.Get("/"); r.StatusCode != 500 {
		t.Errorf("answered %s, want 500", harness.Describe(r.StatusCode, r.Bytes))
	}
	h.AwaitStderr("hostingModel", "bogus")
}

func TestReportsWebConfigAuthoringErrors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config harness.WebConfig
		tell   string
	}{
		"EmptyProcessPath":    {harness.WebConfig{Attrs: map[string]string{"processPath": ""}}, "processPath"},
		"UnknownHostingModel": {harness.WebConfig{Attrs: map[string]string{"hostingModel": "asdf"}}, "hostingModel"},
		"AddItem":             {harness.WebConfig{Inner: `<environmentVariables><add name="A" value="1" /></environmentVariables>`}, "environmentVariable"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := start(t, c.config)
			if r := h.Get("/"); r.StatusCode != 500 {
				t.Errorf("answered %s, want 500", harness.Describe(r.StatusCode, r.Bytes))
			}
			h.AwaitStderr(c.tell)
		})
	}
}

func TestEnvironmentVariableForLauncherPathIsPreferred(t *testing.T) {
	t.Parallel()
	dir := harness.Go().Folder(t)
	harness.WebConfig{Attrs: map[string]string{"processPath": "nope"}}.Write(t, dir)
	h := harness.Start(t, harness.Run{Dir: dir, Env: []string{"ANCM_LAUNCHER_PATH=" + filepath.Join(dir, "app")}})
	h.Worker()
}

func TestEnvironmentVariableForLauncherArgsIsPreferred(t *testing.T) {
	t.Parallel()
	h := start(t, harness.WebConfig{Attrs: map[string]string{"arguments": "nope"}}, "ANCM_LAUNCHER_ARGS=one two")
	var p struct{ Args []string }
	h.JSON("/process", &p)
	if got := strings.Join(p.Args, "|"); got != "one|two" {
		t.Errorf("arguments %q, want one and two", got)
	}
}

func TestWebConfigOverridesGlobalEnvironmentVariables(t *testing.T) {
	t.Parallel()
	h := start(t, harness.WebConfig{Env: map[string]string{"ASPNETCORE_ENVIRONMENT": "Development"}}, "ASPNETCORE_ENVIRONMENT=Production")
	if got := h.Env()["ASPNETCORE_ENVIRONMENT"]; got != "Development" {
		t.Errorf("ASPNETCORE_ENVIRONMENT is %q, want Development", got)
	}
}

func TestPreferEnvironmentVariablesOverWebConfigWhenConfigured(t *testing.T) {
	t.Parallel()
	h := start(t, harness.WebConfig{Env: map[string]string{"ASPNETCORE_ENVIRONMENT": "Development"}},
		"ASPNETCORE_ENVIRONMENT=Production", "ANCM_PREFER_ENVIRONMENT_VARIABLES=true")
	if got := h.Env()["ASPNETCORE_ENVIRONMENT"]; got != "Production" {
		t.Errorf("ASPNETCORE_ENVIRONMENT is %q, want Production", got)
	}
}

func TestWebConfigExpandsVariables(t *testing.T) {
	t.Parallel()
	h := start(t, harness.WebConfig{Env: map[string]string{"OtherVariable": "%TestVariable%;Hello", "Unknown": "%NoSuchThing%"}}, "TestVariable=World")
	env := h.Env()
	if env["OtherVariable"] != "World;Hello" || env["Unknown"] != "%NoSuchThing%" {
		t.Errorf("OtherVariable is %q, Unknown is %q", env["OtherVariable"], env["Unknown"])
	}
}

const startupAssemblies = "ASPNETCORE_HOSTINGSTARTUPASSEMBLIES"

func TestWebConfigAppendsHostingStartup(t *testing.T) {
	t.Parallel()
	h := start(t, harness.WebConfig{}, startupAssemblies+"=Asm1")
	if got := h.Env()[startupAssemblies]; got != "Asm1;Microsoft.AspNetCore.Server.IISIntegration" {
		t.Errorf("%s is %q", startupAssemblies, got)
	}
}

func TestWebConfigOverridesHostingStartup(t *testing.T) {
	t.Parallel()
	h := start(t, harness.WebConfig{Env: map[string]string{startupAssemblies: "Asm2"}}, startupAssemblies+"=Asm1")
	if got := h.Env()[startupAssemblies]; got != "Asm2" {
		t.Errorf("%s is %q, want Asm2", startupAssemblies, got)
	}
}

func TestAuthHeaderEnvironmentVariableRemoved(t *testing.T) {
	t.Parallel()
	h := start(t, harness.WebConfig{Env: map[string]string{"ASPNETCORE_IIS_HTTPAUTH": "shouldberemoved"}})
	if got := h.Env()["ASPNETCORE_IIS_HTTPAUTH"]; got != "anonymous;" {
		t.Errorf("ASPNETCORE_IIS_HTTPAUTH is %q, want anonymous;", got)
	}
}

func TestGetLongEnvironmentVariable(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("AReallyLongValueThatIsLongerThan300Characters", 10)
	if got := start(t, harness.WebConfig{Env: map[string]string{"LONG": long}}).Env()["LONG"]; got != long {
		t.Errorf("%d characters arrived as %q", len(long), got)
	}
}

func TestIncludesAdditionalErrorPageTextOutOfProcess_CorrectString(t *testing.T) {
	t.Parallel()
	h := start(t, harness.WebConfig{Attrs: map[string]string{"processPath": "nope"}}, "ANCM_ADDITIONAL_ERROR_PAGE_LINK=http://example")
	text := h.Get("/").Text()
	if !strings.HasSuffix(text, "</html>\r\n") || !strings.Contains(text, "502.5") ||
		!strings.Contains(text, `<a href="http://example"> <cite> http://example </cite></a> and `) {
		t.Errorf("page: %s", text)
	}
}

func TestStartsWithDotnetOnThePath(t *testing.T) { dotnet(t, "dotnet.exe") }

func TestStartsWithDotnetOnThePathWithoutExe(t *testing.T) { dotnet(t, "dotnet") }

func TestStartsWithDotnetOnThePathUppercase(t *testing.T) { dotnet(t, "DOTNET") }

// dotnet runs the ASP.NET Core application with this processPath.
func dotnet(t *testing.T, path string) {
	t.Helper()
	t.Parallel()
	h := harness.DotNet().Start(t, harness.WebConfig{Attrs: map[string]string{"processPath": path, "arguments": `.\app.dll`}}.Use(t))
	h.Worker()
}

func TestHostingEnvironmentIsCorrect(t *testing.T) {
	t.Parallel()
	app := harness.DotNet()
	dir := app.Folder(t)
	h := harness.Start(t, harness.Run{Dir: dir, Env: app.Env(t)})
	var p struct{ Cwd, Base string }
	h.JSON("/process", &p)
	if p.Cwd != dir || strings.TrimSuffix(p.Base, "/") != dir {
		t.Errorf("current directory %s, base %s, want %s", p.Cwd, p.Base, dir)
	}
	if got := h.Env()["ASPNETCORE_IIS_PHYSICAL_PATH"]; got != dir+"/" {
		t.Errorf("ASPNETCORE_IIS_PHYSICAL_PATH is %q, want %s/", got, dir)
	}
}

func TestIISEnvironmentFeatureIsAvailable(t *testing.T) {
	t.Parallel()
	env := start(t, harness.WebConfig{}).Env()
	for name, want := range map[string]string{
		"ASPNETCORE_IIS_VERSION": "", "ASPNETCORE_IIS_APP_POOL_ID": "", "ASPNETCORE_IIS_SITE_NAME": "",
		"ASPNETCORE_IIS_SITE_ID": "1", "ASPNETCORE_IIS_APP_CONFIG_PATH": "", "ASPNETCORE_IIS_APPLICATION_ID": "/LM/W3SVC/1/ROOT",
		"ASPNETCORE_IIS_APPLICATION_VIRTUAL_PATH": "/", "ASPNETCORE_IIS_WEBSOCKETS_SUPPORTED": "true", "ASPNETCORE_APPL_PATH": "/",
	} {
		got, ok := env[name]
		if !ok || want != "" && got != want {
			t.Errorf("%s is %q (set: %v), want %q", name, got, ok, want)
		}
	}
	if got := env["ASPNETCORE_IIS_APP_CONFIG_PATH"]; got != "MACHINE/WEBROOT/APPHOST/"+env["ASPNETCORE_IIS_SITE_NAME"] {
		t.Errorf("ASPNETCORE_IIS_APP_CONFIG_PATH is %q", got)
	}
}

func TestAncmHttpsPortCanBeOverriden(t *testing.T) {
	t.Parallel()
	env := start(t, harness.WebConfig{Env: map[string]string{"ASPNETCORE_ANCM_HTTPS_PORT": "123"}}).Env()
	if got := env["ASPNETCORE_ANCM_HTTPS_PORT"]; got != "123" {
		t.Errorf("ASPNETCORE_ANCM_HTTPS_PORT is %q, want 123", got)
	}
	if _, ok := env["ASPNETCORE_HTTPS_PORT"]; ok {
		t.Error("ASPNETCORE_HTTPS_PORT is set")
	}
	// Without an https binding there is no port to tell.
	if got := start(t, harness.WebConfig{}).Env()["ASPNETCORE_ANCM_HTTPS_PORT"]; got != "" {
		t.Errorf("without https, ASPNETCORE_ANCM_HTTPS_PORT is %q", got)
	}
}

// By this variable ASP.NET Core knows where to send those that came without
// TLS: to the only https port of the site.
func TestMultipleHttpsPortsProduceNoEnvVar(t *testing.T) {
	t.Parallel()
	const clear, secure = "http://127.0.0.1:0", "https://127.0.0.1:0"
	for _, listen := range [][]string{{clear, secure}, {clear, secure, secure}} {
		h := harness.Go().Start(t, func(r *harness.Run) { r.Listen = listen })
		want := ""
		if len(listen) == 2 {
			_, want, _ = net.SplitHostPort(h.Over(h.URLs[1]).Addr())
		}
		if got, ok := h.Env()["ASPNETCORE_ANCM_HTTPS_PORT"]; !ok || got != want {
			t.Errorf("with %q: %q, want %q", h.URLs, got, want)
		}
	}
}

// EnvironmentVariablesTest of the first version of the module.
func TestEnvironmentVariablesTest(t *testing.T) {
	t.Parallel()
	const integration = "Microsoft.AspNetCore.Server.IISIntegration"
	for _, c := range []struct {
		name, variable, value string
		want                  string
	}{
		{"Custom", "ANCMTestFoo", "foo", "foo"},
		{"StartupDefault", "ANCMTestFoo", "foo", "foo"},
		{"StartupOverride", startupAssemblies, "NewValue", "NewValue"},
		{"HttpAuthIgnored", "ASPNETCORE_IIS_HTTPAUTH", "user", "anonymous;"},
		{"PathIgnored", "ASPNETCORE_APPL_PATH", "/user", "/"},
		{"TokenKept", "ASPNETCORE_TOKEN", "configured-token", "configured-token"},
		{"Empty", "ANCMTestEmpty", "", ""},
		{"CaseOfConfig", "aNcMtEsTcAsE", "kept", "kept"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			env := start(t, harness.WebConfig{Env: map[string]string{c.variable: c.value}}).Env()
			if got, ok := env[c.variable]; !ok || got != c.want {
				t.Errorf("%s is %q (set: %v), want %q", c.variable, got, ok, c.want)
			}
			if got := env[startupAssemblies]; c.variable != startupAssemblies && strings.TrimPrefix(got, ";") != integration {
				t.Errorf("%s is %q, want %s", startupAssemblies, got, integration)
			}
			if env["PATH"] != os.Getenv("PATH") || env["HOME"] != os.Getenv("HOME") {
				t.Errorf("variables of the host are gone: PATH %q, HOME %q", env["PATH"], env["HOME"])
			}
		})
	}
}

// AspNetCorePortTests.

func TestEnvVarInWebConfig_Valid(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	h := start(t, harness.WebConfig{Env: map[string]string{"ASPNETCORE_PORT": port}})
	if got := h.Env()["ASPNETCORE_PORT"]; got != port {
		t.Errorf("ASPNETCORE_PORT is %q, want %s", got, port)
	}
}

func TestEnvVarInWebConfig_Empty(t *testing.T) {
	t.Parallel()
	var port int
	env := start(t, harness.WebConfig{Env: map[string]string{"ASPNETCORE_PORT": ""}}).Env()
	if _, err := fmt.Sscan(env["ASPNETCORE_PORT"], &port); err != nil || port < 1025 || port > 48000 {
		t.Errorf("ASPNETCORE_PORT is %q, want a port of 1025 to 48000", env["ASPNETCORE_PORT"])
	}
}

func TestEnvVarInWebConfig_Invalid(t *testing.T) {
	t.Parallel()
	for _, port := range []string{"1024", "48001", "abc", "-1", "99999999999999999999"} {
		t.Run(port, func(t *testing.T) {
			t.Parallel()
			h := start(t, harness.WebConfig{Env: map[string]string{"ASPNETCORE_PORT": port}})
			if r := h.Get("/"); r.StatusCode != 502 || !strings.Contains(r.Text(), "502.5") {
				t.Errorf("answered %s, want 502.5", harness.Describe(r.StatusCode, r.Bytes))
			}
			if n := len(h.Event(1000)); n > 1 {
				t.Errorf("%d attempts, want one: another would fail the same way", n)
			}
		})
	}
}
