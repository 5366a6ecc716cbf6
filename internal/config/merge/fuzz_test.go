package merge

import (
	"errors"
	"strings"
	"testing"

	"github.com/perchserver/perch/internal/config"
)

// told returns everything that comes out of layers at a path.
func told(layers []Layer, at string, env func(string) (string, bool)) string {
	var b strings.Builder
	settings, problems := Effective(layers, at, env)
	tell(&b, problems)
	if settings == nil {
		return b.String()
	}
	for _, path := range settings.Sections() {
		describe(&b, settings.Section(path), path, "")
	}
	tell(&b, settings.NotDone())
	return b.String()
}

// unsettle takes the mark off that lets settings share an element.
func unsettle(e *element) {
	e.settled = false
	for _, c := range e.children {
		unsettle(c)
	}
	for _, d := range e.entries {
		unsettle(d.entry)
	}
}

// FuzzMerge merges a web.config below an applicationHost.config. Whatever they
// say: nothing panics, the files do not change, and what settings share with a
// file is what they would have made themselves of it.
func FuzzMerge(f *testing.F) {
	server := func(inner string) string { return "<configuration>" + inner + "</configuration>" }
	f.Add(server(`<system.applicationHost><sites><site name="S" id="1"/><site name="T" id="1"/><siteDefaults><bindings><clear/><binding protocol="http" bindingInformation="%A%"/></bindings></siteDefaults></sites></system.applicationHost>`), webServer(`<webSocket enabled="true"/>`), "S")
	f.Add(server(`<configSections><sectionGroup name="system.webServer"><section name="webSocket" overrideModeDefault="Allow"/></sectionGroup></configSections><location path="S" overrideMode="Deny"><system.webServer><handlers lockElements="clear"><add name="a" path="*" verb="*" lockItem="true"/></handlers></system.webServer></location>`), webServer(`<handlers><remove name="a"/><clear/></handlers><webSocket/>`), "S/a")
	f.Add(server(`<system.webServer><httpErrors lockAttributes="*" lockAllElementsExcept="remove"><error statusCode="404" path="%A%%B%"/></httpErrors><modules><add name="x"/></modules></system.webServer>`), webServer(`<httpErrors errorMode="Custom" configSource=""/><httpErrors><error statusCode="404" path="x"/></httpErrors><modules><remove name="x"/></modules>`), "/")
	f.Add(server(`<system.webServer><security><authorization><add accessType="Allow" users="*"/></authorization></security><rewrite><rules><rule name="r"><match url="x"/><conditions><add input="a"/></conditions></rule></rules></rewrite></system.webServer>`), webServer(`<security><authorization><clear/></authorization></security><handlers configSource="b"/><rewrite><rules><rule name="R"/></rules></rewrite>`), "S/b/c")
	f.Fuzz(func(t *testing.T, above, below, at string) {
		open := func(name string) ([]byte, error) {
			if len(name)%2 == 0 {
				return nil, errors.New("gone")
			}
			return []byte(below), nil
		}
		host, problems := Source{Path: "host", Data: []byte(above), Server: true, Open: open}.Load()
		checkProblems(t, host, problems)
		web, problems := Source{Path: "web", Data: []byte(below), Parent: host, Open: open}.Load()
		checkProblems(t, web, problems)
		layers := []Layer{{File: host}, {File: web, At: "S", Application: true}, {File: web, At: "S/a"}}
		env := func(name string) (string, bool) { return name + "!", len(name)%2 == 1 }
		shared := told(layers, at, env)
		if again := told(layers, at, env); again != shared {
			t.Errorf("merging changes the files:\n%s\nthen\n%s", shared, again)
		}
		for _, file := range []*File{host, web} {
			if file == nil {
				continue
			}
			for _, s := range file.scopes {
				for _, d := range s.sections {
					unsettle(d.element)
				}
			}
		}
		if own := told(layers, at, env); own != shared {
			t.Errorf("what is shared:\n%s\nwhat is not:\n%s", shared, own)
		}
	})
}

func checkProblems(t *testing.T, file *File, problems config.Problems) {
	t.Helper()
	if (file == nil) != problems.HasErrors() {
		t.Fatalf("file %v with %v", file, problems)
	}
	for _, p := range problems {
		if p.Detail() == "" || p.File == "" || p.Code.Explain().Title == "" {
			t.Errorf("%+v", p)
		}
	}
}
