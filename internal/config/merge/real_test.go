package merge

import (
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perchserver/perch/internal/config"
)

// loadServer loads an applicationHost.config from testdata.
func loadServer(t testing.TB, name string) *File {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	file, problems := Source{Path: "applicationHost.config", Data: data, Server: true}.Load()
	if file == nil {
		t.Fatal(problems.Err())
	}
	return file
}

// subjects returns what problems are about, by their code.
func subjects(problems config.Problems, code config.Code) []string {
	var all []string
	for _, p := range problems {
		if p.Code == code {
			all = append(all, p.Subject)
		}
	}
	return all
}

// The files that IIS 10 and IIS Express write load: what is not done in them
// is named once, and of what restricts access only what does.
func TestFilesOfIIS(t *testing.T) {
	t.Parallel()
	restricts := []string{
		"system.webServer/security/requestFiltering/fileExtensions/add/@allowed",
	}
	for name, c := range map[string]struct{ site, pool, path string }{
		"iis.config":        {"Default Web Site", "DefaultAppPool", `C:\inetpub\wwwroot`},
		"iisexpress.config": {"WebSite1", "Clr4IntegratedAppPool", `C:\Sites\WebSite1`},
	} {
		env := func(name string) (string, bool) {
			v, ok := map[string]string{"SYSTEMDRIVE": "C:", "IIS_SITES_HOME": `C:\Sites`}[strings.ToUpper(name)]
			return v, ok
		}
		server := loadServer(t, name)
		settings, problems := Effective([]Layer{{File: server}}, "", env)
		if settings == nil {
			t.Fatal(problems.Err())
		}
		notDone := settings.NotDone()
		for _, subject := range subjects(notDone, config.NotDoneRestricts) {
			if !slices.Contains(restricts, subject) {
				t.Errorf("%s: %s is said to restrict access", name, subject)
			}
		}
		all := subjects(notDone, config.NotDone)
		slices.Sort(all)
		// What IIS ships and Perch has no use for is passed over.
		want := []string{"system.webServer/httpCompression", "system.webServer/httpErrors", "system.webServer/modules/add"}
		if name == "iisexpress.config" {
			want = append([]string{"system.applicationHost/sites/siteDefaults/logFile", "system.applicationHost/sites/siteDefaults/traceFailedRequestsLogging/@enabled"}, want...)
		}
		if !slices.Equal(all, want) {
			t.Errorf("%s: not done: %q", name, all)
		}
		site := settings.Section("system.applicationHost/sites").Entries()[0]
		app := site.Entries()[0]
		if site.Text("name") != c.site || app.Text("applicationPool") != c.pool || app.Entries()[0].Text("physicalPath") != c.path {
			t.Errorf("%s: site %q, pool %q, %q", name, site.Text("name"), app.Text("applicationPool"), app.Entries()[0].Text("physicalPath"))
		}
		if n := len(settings.Section("system.webServer/staticContent").Entries()); n != 378 {
			t.Errorf("%s: %d types", name, n)
		}
	}
}

// What `dotnet publish` writes is taken below the files of IIS, where their
// delegation and their locks hold.
func TestPublishedBelowIIS(t *testing.T) {
	t.Parallel()
	for name, site := range map[string]string{"iis.config": "Default Web Site", "iisexpress.config": "WebSite1"} {
		server := loadServer(t, name)
		layers := []Layer{{File: server}, {File: mustLoad(t, "web.config", published), At: site, Application: true}}
		settings, problems := Effective(layers, site+"/some/path", nil)
		if settings == nil {
			t.Fatal(problems.Err())
		}
		handlers := settings.Section("system.webServer/handlers").Entries()
		if len(handlers) != 4 || handlers[0].Text("modules") != "AspNetCoreModuleV2" || handlers[0].Pos().File != "web.config" {
			t.Errorf("%s: %d handlers, first %q", name, len(handlers), handlers[0].Text("modules"))
		}
		locked := mustLoad(t, "web.config", webServer(`<httpErrors defaultPath="x"/><security><access sslFlags="Ssl"/></security>
			<modules><remove name="WebDAVModule"/><remove name="StaticFileModule"/></modules>`))
		_, problems = Effective([]Layer{{File: server}, {File: locked, At: site, Application: true}}, site, nil)
		var codes []config.Code
		for _, p := range problems {
			codes = append(codes, p.Code)
		}
		if diff := cmp.Diff([]config.Code{config.LockedPart, config.LockedSection, config.LockedPart}, codes); diff != "" {
			t.Errorf("%s: %s\n%v", name, diff, problems)
		}
	}
}

// TestSharedSettings holds that settings share what a web.config does not
// change with those of the server, so that a thousand sites cost little.
func TestSharedSettings(t *testing.T) {
	t.Parallel()
	server := loadServer(t, "iis.config")
	types := func(s *Settings) []Element { return s.Section("system.webServer/staticContent").Entries() }
	one, _ := Effective([]Layer{{File: server}}, "A", nil)
	two, _ := Effective([]Layer{{File: server}}, "B", nil)
	if types(one)[0].e != types(two)[0].e {
		t.Error("two sites have content types of their own")
	}
}

// BenchmarkManySites loads and merges the web.config of one more site below an
// applicationHost.config that is there. What a site keeps is told in bytes.
func BenchmarkManySites(b *testing.B) {
	server := loadServer(b, "iis.config")
	data := []byte(published)
	keep := make([]*Settings, 0, b.N)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		at := "Site " + strconv.Itoa(i)
		file, problems := Source{Path: at + "/web.config", Data: data, Parent: server}.Load()
		if file == nil {
			b.Fatal(problems)
		}
		settings, problems := Effective([]Layer{{File: server}, {File: file, At: at, Application: true}}, at, nil)
		if settings == nil {
			b.Fatal(problems)
		}
		keep = append(keep, settings)
	}
	b.StopTimer()
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(b.N), "kept-B/op")
	runtime.KeepAlive(keep)
}

// BenchmarkServer loads and merges an applicationHost.config of a thousand
// sites, each with a <location> of its own.
func BenchmarkServer(b *testing.B) {
	var sites, locations strings.Builder
	for i := range 1000 {
		n := strconv.Itoa(i)
		sites.WriteString(`<site name="Site ` + n + `" id="` + n + `"><application path="/"><virtualDirectory path="/" physicalPath="/srv/` + n +
			`"/></application><bindings><binding protocol="http" bindingInformation="*:80:` + n + `.example"/></bindings></site>`)
		locations.WriteString(`<location path="Site ` + n + `"><system.webServer><webSocket enabled="true"/></system.webServer></location>`)
	}
	data, err := os.ReadFile("testdata/iis.config")
	if err != nil {
		b.Fatal(err)
	}
	text := strings.Replace(string(data), "<siteDefaults>", strings.ReplaceAll(sites.String(), `id="1"`, `id="1000"`)+"<siteDefaults>", 1)
	text = strings.Replace(text, "</configuration>", locations.String()+"</configuration>", 1)
	b.ReportAllocs()
	for b.Loop() {
		file, problems := Source{Path: "f", Data: []byte(text), Server: true}.Load()
		if file == nil {
			b.Fatal(problems)
		}
		settings, problems := Effective([]Layer{{File: file}}, "", nil)
		if settings == nil {
			b.Fatal(problems)
		}
		for i := range 1000 {
			if settings, _ := Effective([]Layer{{File: file}}, "Site "+strconv.Itoa(i), nil); settings == nil {
				b.Fatal("no settings")
			}
		}
	}
}
