package worker

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// environment returns what the application of s sees, with port 12345.
func environment(s *Settings) []string {
	if s.Root == "" {
		s.Root = "/srv/shop"
	}
	e := newEnviron(s)
	return e.block("12345", e.token(), "mark")
}

// expectEnv checks variables by their exact names; "-" is an absent one.
func expectEnv(t *testing.T, s *Settings, want map[string]string) {
	t.Helper()
	block := environment(s)
	for name, value := range want {
		got, ok := lookupEnv(block, name)
		if value == "-" {
			if ok {
				t.Errorf("%s=%q is there", name, got)
			}
			continue
		}
		if !ok || got != value {
			t.Errorf("%s=%q (present: %v), want %q", name, got, ok, value)
		}
	}
}

func TestModuleVariables(t *testing.T) {
	t.Parallel()
	expectEnv(t, &Settings{
		VirtualPath: "/app/sub", HTTPSPort: 443,
		Identity: Identity{Version: "10.0", AppPool: "pool", SiteName: "site", SiteID: "2",
			AppConfigPath: "MACHINE/WEBROOT/APPHOST/site/app/sub", ApplicationID: "/LM/W3SVC/2/ROOT/app/sub"},
	}, map[string]string{
		"ASPNETCORE_PORT":                         "12345",
		"ASPNETCORE_APPL_PATH":                    "/app/sub",
		"ASPNETCORE_IIS_HTTPAUTH":                 "anonymous;",
		"ASPNETCORE_IIS_WEBSOCKETS_SUPPORTED":     "true",
		"ASPNETCORE_IIS_PHYSICAL_PATH":            "/srv/shop/",
		"ASPNETCORE_ANCM_HTTPS_PORT":              "443",
		"ASPNETCORE_HOSTINGSTARTUPASSEMBLIES":     "Microsoft.AspNetCore.Server.IISIntegration",
		"ASPNETCORE_IIS_VERSION":                  "10.0",
		"ASPNETCORE_IIS_APP_POOL_ID":              "pool",
		"ASPNETCORE_IIS_APP_POOL_CONFIG_FILE":     "-",
		"ASPNETCORE_IIS_SITE_NAME":                "site",
		"ASPNETCORE_IIS_SITE_ID":                  "2",
		"ASPNETCORE_IIS_APP_CONFIG_PATH":          "MACHINE/WEBROOT/APPHOST/site/app/sub",
		"ASPNETCORE_IIS_APPLICATION_ID":           "/LM/W3SVC/2/ROOT/app/sub",
		"ASPNETCORE_IIS_APPLICATION_VIRTUAL_PATH": "/app/sub",
		"PORT":               "12345",
		"ASPNETCORE_URLS":    "-",
		"HTTP_PLATFORM_PORT": "-",
	})
}

func TestEnvironmentRules(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		host   []string
		config []Variable
		change func(*Settings)
		want   map[string]string
	}{
		{name: "inherited", host: []string{"LANG=C", "EMPTY="}, want: map[string]string{"LANG": "C", "EMPTY": ""}},
		{name: "WebConfigOverridesGlobalEnvironmentVariables", host: []string{"A=host"}, config: []Variable{{"A", "config"}},
			want: map[string]string{"A": "config"}},
		{name: "PreferEnvironmentVariablesOverWebConfigWhenConfigured", host: []string{"A=%HOME%", "ANCM_PREFER_ENVIRONMENT_VARIABLES=TRUE"},
			config: []Variable{{"A", "config"}, {"B", "config"}}, want: map[string]string{"A": "%HOME%", "B": "config"}},
		{name: "preference needs 1 or true", host: []string{"A=host", "ANCM_PREFER_ENVIRONMENT_VARIABLES=yes"},
			config: []Variable{{"A", "config"}}, want: map[string]string{"A": "config"}},
		{name: "last wins, in any case", config: []Variable{{"Name", "1"}, {"NAME", "2"}}, want: map[string]string{"NAME": "2", "Name": "-"}},
		{name: "a name in another case replaces the host's", host: []string{"foo=host"}, config: []Variable{{"Foo", "config"}},
			want: map[string]string{"Foo": "config", "foo": "-"}},
		{name: "both cases of the host are kept", host: []string{"x=1", "X=2"}, want: map[string]string{"x": "1", "X": "2"}},
		{name: "WebConfigExpandsVariables", host: []string{"TestVariable=World"}, config: []Variable{{"Greeting", "%TestVariable%;Hello"}},
			want: map[string]string{"Greeting": "World;Hello"}},
		{name: "unknown names stay, and other configured ones are unknown", host: []string{"A=1"},
			config: []Variable{{"B", "2"}, {"C", "%A%%B%%%100%"}}, want: map[string]string{"C": "1%B%%%100%"}},
		{name: "expansion does not recurse", host: []string{"A=%B%", "B=2"}, config: []Variable{{"C", "%A%"}}, want: map[string]string{"C": "%B%"}},
		{name: "WebConfigAppendsHostingStartup", host: []string{"ASPNETCORE_HOSTINGSTARTUPASSEMBLIES=Asm1"},
			want: map[string]string{"ASPNETCORE_HOSTINGSTARTUPASSEMBLIES": "Asm1;Microsoft.AspNetCore.Server.IISIntegration"}},
		{name: "not appended twice", host: []string{"ASPNETCORE_HOSTINGSTARTUPASSEMBLIES=Microsoft.AspNetCore.Server.IISIntegration;Asm1"},
			want: map[string]string{"ASPNETCORE_HOSTINGSTARTUPASSEMBLIES": "Microsoft.AspNetCore.Server.IISIntegration;Asm1"}},
		{name: "WebConfigOverridesHostingStartup", host: []string{"ASPNETCORE_HOSTINGSTARTUPASSEMBLIES=Asm1"},
			config: []Variable{{"ASPNETCORE_HOSTINGSTARTUPASSEMBLIES", "Asm2"}}, want: map[string]string{"ASPNETCORE_HOSTINGSTARTUPASSEMBLIES": "Asm2"}},
		{name: "AuthHeaderEnvironmentVariableRemoved", host: []string{"ASPNETCORE_IIS_HTTPAUTH=x"}, config: []Variable{{"ASPNETCORE_IIS_HTTPAUTH", "y"}},
			want: map[string]string{"ASPNETCORE_IIS_HTTPAUTH": "anonymous;"}},
		{name: "AncmHttpsPortCanBeOverriden", config: []Variable{{"ASPNETCORE_ANCM_HTTPS_PORT", "123"}}, change: func(s *Settings) { s.HTTPSPort = 443 },
			want: map[string]string{"ASPNETCORE_ANCM_HTTPS_PORT": "123"}},
		{name: "MultipleHttpsPortsProduceNoEnvVar", want: map[string]string{"ASPNETCORE_ANCM_HTTPS_PORT": ""}},
		{name: "a configured path is discarded", config: []Variable{{"ASPNETCORE_APPL_PATH", "/other"}}, want: map[string]string{"ASPNETCORE_APPL_PATH": "/"}},
		{name: "a configured token is used", config: []Variable{{"ASPNETCORE_TOKEN", "secret"}}, want: map[string]string{"ASPNETCORE_TOKEN": "secret"}},
		{name: "the host's port and path are not", host: []string{"ASPNETCORE_PORT=1", "ASPNETCORE_APPL_PATH=/x"},
			want: map[string]string{"ASPNETCORE_PORT": "12345", "ASPNETCORE_APPL_PATH": "/"}},
		{name: "web sockets off", config: []Variable{{"ASPNETCORE_IIS_WEBSOCKETS_SUPPORTED", "true"}}, change: func(s *Settings) { s.NoWebSockets = true },
			want: map[string]string{"ASPNETCORE_IIS_WEBSOCKETS_SUPPORTED": "false"}},
		{name: "PORT of the host stays", host: []string{"PORT=80"}, want: map[string]string{"PORT": "80"}},
		{name: "PORT of web.config stays", config: []Variable{{"port", "81"}}, want: map[string]string{"port": "81", "PORT": "-"}},
		{name: "Path is PATH", host: []string{"PATH=/bin"}, config: []Variable{{"Path", "/opt/bin:%PATH%"}},
			want: map[string]string{"PATH": "/opt/bin:/bin", "Path": "-"}},
		{name: "nothing of the host's own", host: []string{"PERCH_LISTEN=x", "NOTIFY_SOCKET=x", "LISTEN_FDS=1", "LISTEN_PID=1", "WATCHDOG_USEC=1",
			"CREDENTIALS_DIRECTORY=x", "DB_PASSWORD=x"}, config: []Variable{{"LEAK", "%PERCH_LISTEN%"}}, change: func(s *Settings) { s.Secrets = []string{"DB_PASSWORD"} },
			want: map[string]string{"PERCH_LISTEN": "-", "NOTIFY_SOCKET": "-", "LISTEN_FDS": "-", "LISTEN_PID": "-", "WATCHDOG_USEC": "-",
				"CREDENTIALS_DIRECTORY": "-", "DB_PASSWORD": "-", "LEAK": "%PERCH_LISTEN%"}},
		{name: "web.config may set what the host may not pass on", config: []Variable{{"LISTEN_ADDRESS", "x"}}, want: map[string]string{"LISTEN_ADDRESS": "x"}},
		{name: "GetLongEnvironmentVariable", config: []Variable{{"LONG", strings.Repeat("x", 4000)}}, want: map[string]string{"LONG": strings.Repeat("x", 4000)}},
		{name: "another user", host: []string{"HOME=/root", "USER=root"}, config: []Variable{{"USER", "own"}},
			change: func(s *Settings) { s.User = &Account{Name: "www", Home: "/var/www"} },
			want:   map[string]string{"HOME": "/var/www", "USER": "own", "LOGNAME": "www"}},
		{name: "HTTP_PLATFORM_PORT", host: []string{"HTTP_PLATFORM_PORT=7", "ASPNETCORE_TOKEN=x", "ASPNETCORE_PORT=9"},
			config: []Variable{{"URL", "http://localhost:%HTTP_PLATFORM_PORT%/"}}, change: func(s *Settings) { s.Protocol = HTTPPlatform },
			want: map[string]string{"HTTP_PLATFORM_PORT": "12345", "URL": "http://localhost:12345/", "PORT": "12345", "ASPNETCORE_PORT": "-",
				"ASPNETCORE_TOKEN": "-", "ASPNETCORE_IIS_HTTPAUTH": "-", "ASPNETCORE_APPL_PATH": "-"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := &Settings{Host: tt.host, Environment: tt.config}
			if tt.change != nil {
				tt.change(s)
			}
			expectEnv(t, s, tt.want)
		})
	}
}

func TestNoVariableIsThereTwice(t *testing.T) {
	t.Parallel()
	block := environment(&Settings{Host: []string{"PORT=1", "Aspnetcore_Token=x", "A=1", "HTTP_PLATFORM_INSTANCE=x"}, Environment: []Variable{{"a", "2"}, {"A", "3"}}})
	var names []string
	for _, entry := range block {
		name, _, _ := strings.Cut(entry, "=")
		names = append(names, strings.ToUpper(name))
	}
	slices.Sort(names)
	if unique := slices.Compact(slices.Clone(names)); len(unique) != len(names) {
		t.Errorf("names: %v", names)
	}
}

func TestTheTokenIsARandomGUID(t *testing.T) {
	t.Parallel()
	e := newEnviron(&Settings{})
	a, b := e.token(), e.token()
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	if a == b || !form.MatchString(a) {
		t.Errorf("tokens %q and %q", a, b)
	}
}

func TestFixedPort(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"": "", "1025": "1025", "48000": "48000", " 5000": " 5000", "1024": "error", "48001": "error", "http": "error"} {
		got, err := newEnviron(&Settings{Environment: []Variable{{"ASPNETCORE_PORT", text}}}).fixedPort()
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("port %q: %q, want %q", text, got, want)
		}
	}
	prefer := &Settings{Host: []string{"ASPNETCORE_PORT=6000", "ANCM_PREFER_ENVIRONMENT_VARIABLES=1"}, Environment: []Variable{{"ASPNETCORE_PORT", "5000"}}}
	if got, _ := newEnviron(prefer).fixedPort(); got != "6000" {
		t.Errorf("the host's port is preferred: %q", got)
	}
}
