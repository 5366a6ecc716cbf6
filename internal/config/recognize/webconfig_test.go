package recognize

import (
	"encoding/xml"
	"testing"
)

func TestWebConfigOfDotNet(t *testing.T) {
	t.Parallel()
	app, err := Folder(write(t, map[string]string{"app.dll": "", "app.runtimeconfig.json": webConfigFile}))
	if err != nil {
		t.Fatal(err)
	}
	// What `dotnet publish` writes, but for the model.
	const want = `<?xml version="1.0" encoding="utf-8"?>
<configuration>
  <location path="." inheritInChildApplications="false">
    <system.webServer>
      <handlers>
        <add name="aspNetCore" path="*" verb="*" modules="AspNetCoreModuleV2" resourceType="Unspecified" />
      </handlers>
      <aspNetCore processPath="dotnet" arguments=".\app.dll" stdoutLogEnabled="false" stdoutLogFile=".\logs\stdout" hostingModel="outofprocess" />
    </system.webServer>
  </location>
</configuration>
`
	if got := string(WebConfig(app)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestWebConfigOfACommand(t *testing.T) {
	t.Parallel()
	app, err := Folder(write(t, map[string]string{"Procfile": `web: GREETING=hi ./run -p $PORT`}))
	if err != nil {
		t.Fatal(err)
	}
	const want = `<?xml version="1.0" encoding="utf-8"?>
<configuration>
  <location path="." inheritInChildApplications="false">
    <system.webServer>
      <handlers>
        <add name="httpPlatformHandler" path="*" verb="*" modules="httpPlatformHandler" resourceType="Unspecified" />
      </handlers>
      <httpPlatform processPath="./run" arguments="-p %HTTP_PLATFORM_PORT%" stdoutLogEnabled="false" stdoutLogFile=".\logs\stdout">
        <environmentVariables>
          <environmentVariable name="PORT" value="%HTTP_PLATFORM_PORT%" />
          <environmentVariable name="GREETING" value="hi" />
        </environmentVariables>
      </httpPlatform>
    </system.webServer>
  </location>
</configuration>
`
	if got := string(WebConfig(app)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Whatever is in a command comes back from the file as it was.
func TestWebConfigIsWellFormed(t *testing.T) {
	t.Parallel()
	const command = `a "b <c>" && d 'é' %X% & e`
	app := App{Section: "httpPlatform"}
	app.run(command)
	for _, a := range []App{app, {Section: "aspNetCore", ProcessPath: `.\a&b`, Environment: []Variable{{"N", "a\tb\n\"c\""}}}, {}} {
		var file struct {
			Location struct {
				Server struct {
					Platform struct {
						ProcessPath string `xml:"processPath,attr"`
						Arguments   string `xml:"arguments,attr"`
					} `xml:"httpPlatform"`
					Core struct {
						ProcessPath string `xml:"processPath,attr"`
						Environment []struct {
							Name  string `xml:"name,attr"`
							Value string `xml:"value,attr"`
						} `xml:"environmentVariables>environmentVariable"`
					} `xml:"aspNetCore"`
				} `xml:"system.webServer"`
			} `xml:"location"`
		}
		if err := xml.Unmarshal(WebConfig(a), &file); err != nil {
			t.Fatalf("%v:\n%s", err, WebConfig(a))
		}
		s := file.Location.Server
		switch a.Section {
		case "httpPlatform":
			if s.Platform.ProcessPath != shell || s.Platform.Arguments != quote(shellOption, command) {
				t.Errorf("%+v", s.Platform)
			}
		case "aspNetCore":
			if s.Core.ProcessPath != a.ProcessPath || len(s.Core.Environment) != 1 || s.Core.Environment[0].Value != "a\tb\n\"c\"" {
				t.Errorf("%+v", s.Core)
			}
		}
	}
}
