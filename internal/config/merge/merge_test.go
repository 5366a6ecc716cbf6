package merge

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/perchserver/perch/internal/config"
	"github.com/perchserver/perch/internal/config/schema"
)

const published = `<?xml version="1.0" encoding="utf-8"?>
<configuration>
  <location path="." inheritInChildApplications="false">
    <system.webServer>
      <handlers>
        <add name="aspNetCore" path="*" verb="*" modules="AspNetCoreModuleV2" resourceType="Unspecified" />
      </handlers>
      <aspNetCore processPath="dotnet" arguments=".\App.dll" stdoutLogEnabled="false" stdoutLogFile=".\logs\stdout" hostingModel="inprocess" />
    </system.webServer>
  </location>
</configuration>
`

// mustLoad loads a file without errors.
func mustLoad(t testing.TB, path, text string) *File {
	t.Helper()
	file, problems := Load(path, []byte(text))
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	return file
}

// webServer wraps sections of system.webServer into a file.
func webServer(sections string) string {
	return "<configuration><system.webServer>" + sections + "</system.webServer></configuration>"
}

func TestGetters(t *testing.T) {
	t.Parallel()
	file := mustLoad(t, "web.config", published)
	settings, problems := Effective([]Layer{{File: file, At: "/", Application: true}}, "/", nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	app := settings.Section("system.webServer/aspNetCore")
	if !app.Present || app.Pos() != (config.Pos{File: "web.config", Line: 8, Column: 7}) {
		t.Errorf("present %v at %v", app.Present, app.Pos())
	}
	if got := app.Attribute("processPath"); !got.Set || got.Text != "dotnet" || got.Pos.String() != "web.config:8:19" {
		t.Errorf("processPath %+v", got)
	}
	if got := app.Attribute("requestTimeout"); got.Set || got.Duration() != 2*time.Minute || got.Pos != (config.Pos{}) {
		t.Errorf("requestTimeout %+v", got)
	}
	got := []any{
		app.Text("arguments"), app.Text("hostingModel"), app.Int("hostingModel"), app.Bool("stdoutLogEnabled"),
		app.Int("startupTimeLimit"), app.Duration("requestTimeout"), app.Child("environmentVariables").Present,
		len(app.Child("environmentVariables").Entries()),
	}
	want := []any{`.\App.dll`, "inprocess", int64(1), false, int64(120), 2 * time.Minute, false, 0}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	entry := settings.Section("system.webServer/handlers").Entries()[0]
	if !entry.Present || entry.Text("modules") != "AspNetCoreModuleV2" || entry.Pos().Line != 6 {
		t.Errorf("handler %+v at %v", entry.Attribute("modules"), entry.Pos())
	}
	if limits := settings.Section("system.webServer/security/requestFiltering").Child("requestLimits"); limits.Present ||
		limits.Int("maxAllowedContentLength") != 30_000_000 || limits.Pos() != (config.Pos{}) {
		t.Errorf("limits of nobody: %+v", limits)
	}
}

// A name that the schema does not have is a mistake in the program.
func TestGettersPanic(t *testing.T) {
	t.Parallel()
	settings, _ := Effective(nil, "/", nil)
	app := settings.Section("system.webServer/aspNetCore")
	for name, f := range map[string]func(){
		"section":        func() { settings.Section("system.webServer/none") },
		"unread section": func() { settings.Section("system.webServer/cors") },
		"attribute":      func() { app.Text("none") },
		"server section": func() {
			elsewhere, _ := Effective(nil, "/x", nil)
			elsewhere.Section("system.applicationHost/sites")
		},
		"type":            func() { app.Bool("processPath") },
		"duration of int": func() { app.Duration("startupTimeLimit") },
		"child":           func() { app.Child("none") },
		"collection":      func() { app.Entries() },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

func TestLocations(t *testing.T) {
	t.Parallel()
	file := mustLoad(t, "f", `<configuration>
		<location path="b/c/"><system.web/></location><location path="."/><location/>
		<location path="A"/><location path="a"/><location path="B/C"/></configuration>`)
	if diff := cmp.Diff([]string{"b/c", "A"}, file.Locations()); diff != "" {
		t.Error(diff)
	}
	if file.Path() != "f" {
		t.Errorf("path %q", file.Path())
	}
}

func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]config.Code{
		"":                                     config.BadXML,
		"\xff":                                 config.NotText,
		"<configuration>":                      config.CrossedTags,
		"<!DOCTYPE x><configuration/>":         config.DocumentType,
		"<configuration/><configuration/>":     config.BadXML,
		webServer("<handlers name='x'/>"):      config.UnknownAttribute,
		strings.Repeat(" ", 10<<20+1):          config.TooLarge,
		strings.Repeat("<configuration>", 200): config.TooLarge,
	} {
		file, problems := Load("f", []byte(text))
		if file != nil || len(problems) == 0 || problems[0].Code != want {
			t.Errorf("%.40q: %v %v, want %s", text, file, problems, want)
		}
	}
}

// A section is a row of a table: one that is added is read, checked, merged
// and asked for like the others.
func TestAddedSection(t *testing.T) {
	t.Parallel()
	table := append(slices.Clone(schema.Builtin()), schema.Section{
		Path: "system.webServer/toys/trains", Element: schema.Element{
			Attributes: []schema.Attribute{{Name: "speed", Type: schema.Uint, Default: "3", Range: &schema.Range{Max: 9}}},
			Collection: &schema.Collection{Add: "train", Remove: "scrap", Clear: "scrapAll", AllowDuplicates: true, Entry: schema.Element{
				Attributes: []schema.Attribute{{Name: "line", Key: true, Type: schema.Uint}, {Name: "to", Key: true}},
				Elements:   []schema.Element{{Name: "cars", Collection: &schema.Collection{Add: "car", Clear: "none"}}},
			}},
		},
	})
	read := func(sections string) *File {
		file, problems := Source{Path: "f", Data: []byte(webServer("<toys>" + sections + "</toys>"))}.load(table)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		return file
	}
	parent := read(`<trains><train line="1" to="A"/><train line="01" to="a"/><train line="1" to="B"><cars><car/><none/><car/></cars></train></trains>`)
	child := read(`<trains speed="9"><scrap line="1" to="a"/><train line="2" to="C"/></trains>`)
	settings, problems := Effective([]Layer{{File: parent, At: "/"}, {File: child, At: "/x"}}, "/x", nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	trains := settings.Section("system.webServer/toys/trains")
	var got []string
	for _, e := range trains.Entries() {
		got = append(got, fmt.Sprint(e.Int("line"), e.Text("to"), len(e.Child("cars").Entries())))
	}
	if diff := cmp.Diff([]string{"1B1", "2C0"}, got); diff != "" || trains.Int("speed") != 9 {
		t.Errorf("speed %d\n%s", trains.Int("speed"), diff)
	}
	if _, problems := (Source{Path: "f", Data: []byte(webServer(`<toys><trains speed="10"/></toys>`))}).load(table); len(problems) != 1 || problems[0].Code != config.OutOfRange {
		t.Error(problems)
	}
	if _, problems := Load("f", []byte(webServer(`<toys/>`))); len(problems) != 1 || problems[0].Code != config.UnknownSection {
		t.Error(problems)
	}
}

// What is known and not done is named once with all that is in it; what is in
// it and restricts access is named besides.
func TestKnownInsideKnown(t *testing.T) {
	t.Parallel()
	table := schema.Table{{Path: "toys", Element: schema.Element{Status: schema.Known,
		Attributes: []schema.Attribute{{Name: "plain", Status: schema.Known}, {Name: "limit", Status: schema.Known, Restricts: true}},
		Elements: []schema.Element{
			{Name: "inner", Status: schema.Known, Attributes: []schema.Attribute{{Name: "a"}}},
			{Name: "fence", Status: schema.Known, Restricts: true, Attributes: []schema.Attribute{{Name: "a"}}},
		},
	}}}
	file, problems := Source{Path: "f", Data: []byte(
		`<configuration><toys plain="1" limit="2"><inner a="3"/><fence a="4"/></toys></configuration>`,
	)}.load(table)
	if file == nil {
		t.Fatal(problems)
	}
	var got []string
	for _, p := range problems {
		got = append(got, string(p.Code)+" "+p.Subject)
	}
	if diff := cmp.Diff([]string{"PC040 toys", "PC041 toys/@limit", "PC041 toys/fence"}, got); diff != "" {
		t.Error(diff)
	}
}

// A file that is there twice, as where two virtual directories lead to one
// folder, is a file above itself.
func TestFileAboveItself(t *testing.T) {
	t.Parallel()
	file := mustLoad(t, "f", webServer(`<httpErrors errorMode="Custom" lockAttributes="errorMode"/>`))
	layers := []Layer{{File: file, At: "/"}, {File: file, At: "/again"}}
	if settings, problems := Effective(layers, "/", nil); settings == nil {
		t.Error(problems)
	}
	if _, problems := Effective(layers, "/again", nil); len(problems) != 1 || problems[0].Code != config.LockedPart {
		t.Error(problems)
	}
}

// Merging does not change the files, which other paths use at the same time.
func TestFilesAreShared(t *testing.T) {
	t.Parallel()
	root := mustLoad(t, "root", webServer(`<handlers><add name="a" path="*" verb="*" type="%X%"/><add name="b" path="*" verb="*"/></handlers>
		<aspNetCore processPath="%X%"><environmentVariables><environmentVariable name="n" value="v"/></environmentVariables></aspNetCore>`))
	sub := mustLoad(t, "sub", webServer(`<handlers><remove name="a"/><add name="c" path="*" verb="*"/></handlers>
		<aspNetCore><environmentVariables><clear/></environmentVariables></aspNetCore>`))
	layers := []Layer{{File: root, At: "/"}, {File: sub, At: "/sub"}}
	tell := func(path string) string {
		settings, problems := Effective(layers, path, func(string) (string, bool) { return path, true })
		if len(problems) > 0 {
			t.Error(problems)
			return ""
		}
		app := settings.Section("system.webServer/aspNetCore")
		text := app.Text("processPath") + " " + fmt.Sprint(len(app.Child("environmentVariables").Entries()))
		for _, h := range settings.Section("system.webServer/handlers").Entries() {
			text += " " + h.Text("name")
		}
		return text
	}
	var wait sync.WaitGroup
	for path, want := range map[string]string{"/": "/ 1 a b", "/sub/": "/sub/ 0 c b", "/Sub/x": "/Sub/x 0 c b", "/other": "/other 1 a b"} {
		for range 4 {
			wait.Go(func() {
				if got := tell(path); got != want {
					t.Errorf("%s: %q, want %q", path, got, want)
				}
			})
		}
	}
	wait.Wait()
}

// What was merged once may be the base of several merges.
func TestMergeChangesNeitherSide(t *testing.T) {
	t.Parallel()
	section := func(text string) *element {
		return mustLoad(t, "f", webServer(text)).scopes[0].sections[0].element
	}
	var m merger
	root := section(`<handlers accessPolicy="Read"><add name="a" path="*" verb="*"/><add name="b" path="*" verb="*"/><add name="c" path="*" verb="*"/></handlers>`)
	over := section(`<handlers accessPolicy="Script"><remove name="a"/><add name="d" path="*" verb="*"/></handlers>`)
	tell := func(e *element) string {
		var b strings.Builder
		describe(&b, Element{true, e}, "handlers", "")
		return b.String()
	}
	base := m.merge(nil, root)
	before := tell(base)
	first := tell(m.merge(base, over))
	second := tell(m.merge(base, over))
	if tell(base) != before || first != second || len(m.problems) > 0 {
		t.Errorf("the base has changed: %v\n%s", m.problems, cmp.Diff(before, tell(base)))
	}
}

// A collection after any directives is what the rules of the specification,
// written down once more in the simplest way, make of them.
func TestCollectionsFollowTheModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		prepend := rapid.Bool().Draw(t, "prepend")
		section, item := "staticContent", `<mimeMap fileExtension="%s" mimeType="x/%d" />`
		removal := `<remove fileExtension="%s" />`
		if prepend {
			section, item, removal = "handlers", `<add name="%s" path="%d" verb="*" />`, `<remove name="%s" />`
		}
		var model []string
		duplicate := false
		var layers []Layer
		serial := 0
		for range rapid.IntRange(1, 4).Draw(t, "files") {
			var text strings.Builder
			var own []string
			for range rapid.IntRange(0, 6).Draw(t, "directives") {
				key := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "key")
				isKey := func(s string) bool { return strings.HasPrefix(s, key+" ") }
				switch rapid.IntRange(0, 5).Draw(t, "directive") {
				case 0:
					text.WriteString("<clear />")
					model, own = nil, nil
				case 1, 2:
					fmt.Fprintf(&text, removal, key)
					model, own = slices.DeleteFunc(model, isKey), slices.DeleteFunc(own, isKey)
				default:
					serial++
					fmt.Fprintf(&text, item, key, serial)
					duplicate = duplicate || slices.ContainsFunc(model, isKey) || slices.ContainsFunc(own, isKey)
					own = append(own, fmt.Sprintf("%s %d", key, serial))
				}
			}
			if prepend {
				model = append(own, model...)
			} else {
				model = append(model, own...)
			}
			file, problems := Load("f", []byte(webServer("<"+section+">"+text.String()+"</"+section+">")))
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			layers = append(layers, Layer{File: file, At: "/"})
		}
		settings, problems := Effective(layers, "/", nil)
		if duplicate != problems.HasErrors() {
			t.Fatalf("duplicate %v, but %v", duplicate, problems)
		}
		if duplicate {
			return
		}
		var got []string
		for _, e := range settings.Section("system.webServer/" + section).Entries() {
			if prepend {
				got = append(got, e.Text("name")+" "+e.Text("path"))
			} else {
				got = append(got, e.Text("fileExtension")+" "+strings.TrimPrefix(e.Text("mimeType"), "x/"))
			}
		}
		if !slices.Equal(got, model) {
			t.Fatalf("%q, want %q", got, model)
		}
	})
}

func TestNotDoneOnceInAFile(t *testing.T) {
	t.Parallel()
	root := mustLoad(t, "root", webServer(`<asp bufferingOn="true"/><cors enabled="true"/>`))
	sub := mustLoad(t, "sub", webServer(`<asp bufferingOn="true"/><cgi timeout="00:00:01"/>`))
	settings, _ := Effective([]Layer{{File: root, At: "/"}, {File: sub, At: "/sub"}}, "/sub", nil)
	var got []string
	for _, p := range settings.NotDone() {
		got = append(got, p.File+" "+p.Subject+" "+string(p.Code)+" "+p.Severity.String())
	}
	want := []string{
		"root system.webServer/asp PC040 warning",
		"root system.webServer/cors PC041 warning",
		"sub system.webServer/asp PC040 warning",
		"sub system.webServer/cgi PC040 warning",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A large file is read and merged in time that grows with its size alone,
// also if it is one line and everything in it is wrong. Some of these have
// taken minutes, which is more than a test may.
func TestLargeFiles(t *testing.T) {
	t.Parallel()
	const n = 60_000
	many := func(format string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(strings.ReplaceAll(format, "$", strconv.Itoa(i)))
		}
		return b.String()
	}
	for name, text := range map[string]string{
		"entries":           webServer("<staticContent>" + many(`<mimeMap fileExtension=".$" mimeType="a/b"/>`) + "</staticContent>"),
		"removals":          webServer("<staticContent>" + many(`<mimeMap fileExtension=".$" mimeType="a/b"/><remove fileExtension=".$"/>`) + "</staticContent>"),
		"duplicates":        webServer("<staticContent>" + many(`<mimeMap fileExtension=".a" mimeType="a/b"/>`) + "</staticContent>"),
		"children":          webServer("<staticContent>" + many(`<clientCache/>`) + "</staticContent>"),
		"unknown elements":  webServer("<staticContent>" + many(`<mimeMaq$/>`) + "</staticContent>"),
		"unknown sections":  webServer(many(`<aspNetCora$/>`)),
		"unknown values":    webServer("<staticContent>" + many(`<mimeMap fileExtension=".$" mimeTyp="a/b"/>`) + "</staticContent>"),
		"locations":         "<configuration>" + many(`<location path="a" overrideMode="Deny"><system.webServer/></location>`) + "</configuration>",
		"locked locations":  "<configuration>" + many(`<location path="$" overrideMode="Deny"><system.webServer><asp bufferingOn="true"/></system.webServer></location>`) + "</configuration>",
		"sections again":    webServer(many(`<asp bufferingOn="true"/>`)),
		"declarations":      "<configuration><configSections>" + many(`<section name="a$"/>`) + "</configSections>" + many(`<b$/>`) + "</configuration>",
		"declared sections": "<configuration><configSections>" + many(`<section name="a$"/>`) + "</configSections>" + many(`<a$/>`) + "</configuration>",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file, problems := Load("f", []byte(text))
			if len(problems) > config.MaxErrors+10 {
				t.Errorf("%d problems", len(problems))
			}
			if file == nil {
				return
			}
			_, problems = Effective([]Layer{{File: file, At: "/"}, {File: file, At: "/a"}}, "/a", nil)
			if len(problems) > config.MaxErrors+10 {
				t.Errorf("%d problems", len(problems))
			}
		})
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(published), "/admin/x")
	f.Add([]byte(webServer(`<handlers accessPolicy="1"><clear/><remove name="a"/><add name="a" path="*" verb="*"/></handlers><httpErrors/>`)), "/")
	f.Add([]byte(`<configuration><configSections><sectionGroup name="a"><section name="b"/></sectionGroup></configSections><a><b/></a></configuration>`), "")
	f.Add([]byte(`<configuration><location path="a" overrideMode="Deny"><system.webServer><aspNetCore processPath="%A%%"/></system.webServer></location></configuration>`), "/A")
	f.Add([]byte(webServer(`<staticContent><mimeMap fileExtension=".a" mimeType="b"/><clientCache cacheControlMaxAge="1.00:00:00"/></staticContent>`)), "/a/b")
	f.Fuzz(func(t *testing.T, data []byte, path string) {
		file, problems := Load("f", data)
		if (file == nil) != problems.HasErrors() {
			t.Fatalf("file %v with %v", file, problems)
		}
		for _, p := range problems {
			if p.Detail() == "" || p.File != "f" || p.Code.Explain().Title == "" {
				t.Errorf("%+v", p)
			}
		}
		if file == nil {
			return
		}
		env := func(name string) (string, bool) { return name, len(name)%2 == 0 }
		once, problems := Effective([]Layer{{File: file, At: "/"}, {At: "/a", Application: true}}, path, env)
		if (once == nil) != problems.HasErrors() {
			t.Fatalf("settings %v with %v", once, problems)
		}
		// One file twice adds every keyed entry twice, and is the same
		// otherwise.
		again, problems := Effective([]Layer{{File: file, At: "/"}, {File: file, At: "/"}}, path, env)
		for _, p := range problems {
			if once != nil && p.Code != config.DuplicateKey && p.Code != config.LockedSection && p.Code != config.MissingAttribute && p.Code != config.EmptyValue {
				t.Error(p)
			}
		}
		if once != nil && again != nil {
			for _, s := range schema.Builtin() {
				if s.Status == schema.Done && s.Where != schema.ServerOnly {
					settingsOf(again, s.Path)
					settingsOf(once, s.Path)
				}
			}
		}
	})
}

// settingsOf reads everything that can be asked of a section.
func settingsOf(s *Settings, path string) string {
	var b strings.Builder
	describe(&b, s.Section(path), path, "")
	return b.String()
}

func BenchmarkLoad(b *testing.B) {
	data := []byte(published)
	b.ReportAllocs()
	for b.Loop() {
		if file, _ := Load("web.config", data); file == nil {
			b.Fatal("no file")
		}
	}
}

func BenchmarkEffective(b *testing.B) {
	layers := []Layer{{File: mustLoad(b, "web.config", published), At: "/", Application: true}}
	b.ReportAllocs()
	for b.Loop() {
		if settings, _ := Effective(layers, "/some/path", nil); settings == nil {
			b.Fatal("no settings")
		}
	}
}
