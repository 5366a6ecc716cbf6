package plan

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/perchserver/perch/internal/config"
)

// many repeats a text with numbers for its $, more often than errors are told.
func many(text string) string {
	var b strings.Builder
	for i := range config.MaxErrors + 30 {
		b.WriteString(strings.ReplaceAll(text, "$", fmt.Sprint(i)) + "\n")
	}
	return b.String()
}

// An error that a draft brings is found behind more others than are told: in
// the form of a file, in its values and in what they mean.
func TestDraftWithManyErrors(t *testing.T) {
	t.Parallel()
	nowhere := func(last string) string {
		return hostConfig("", many(`<site name="s$" id="1$"><application path="/"><virtualDirectory path="/" physicalPath="nowhere$" /></application><bindings><binding protocol="http" bindingInformation="*:81:s$.test" /></bindings></site>`)+plainSite(9, "last", "*:80:", last))
	}
	for name, c := range map[string]struct{ before, after, want string }{
		"unknown elements":      {webConfigWith("<staticContent>" + many(`<mimeMaq$ />`) + "</staticContent>"), webConfigWith("<staticContent>" + many(`<mimeMaq$ />`) + `</staticContent><defaultDocument enabled="maybe" />`), "enabled cannot be"},
		"values":                {webConfigWith("<staticContent>" + many(`<mimeMap fileExtension=".$" mimeType="a/b" mimeTyp="" />`) + "</staticContent>"), webConfigWith("<staticContent>" + many(`<mimeMap fileExtension=".$" mimeType="a/b" mimeTyp="" />`) + `<mimeMap fileExtension=".z" mimeType="a/b" mimeTyp="" /></staticContent>`), "unknown attribute mimeTyp"},
		"entries":               {webConfigWith("<staticContent>" + many(`<mimeMap fileExtension=".a" mimeType="a/$" />`) + "</staticContent>"), webConfigWith("<staticContent>" + many(`<mimeMap fileExtension=".a" mimeType="a/$" />`) + `<mimeMap fileExtension=".b" mimeType="a/b" /><mimeMap fileExtension=".b" mimeType="a/b" /></staticContent>`), `".b" already`},
		"sites":                 {nowhere("."), nowhere("gone"), "gone: the folder does not exist"},
		"bindings":              {nowhere("."), strings.Replace(nowhere("."), "*:80:", "*:x:", 1), "x"},
		"no new one among many": {nowhere("."), nowhere(".") + " ", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := "web.config"
			if strings.Contains(c.before, "<sites>") {
				file = "applicationHost.config"
			}
			dir := tree(t, map[string]string{file: c.before, "index.html": ""})
			in := input(dir)
			if file != "web.config" {
				in = served(dir)
			}
			told, err := Check(in, parts())
			if err != nil || !told.Full() || len(told) > config.MaxErrors {
				t.Errorf("check tells %d problems, %v", len(told), err)
			}
			fresh, err := CheckDraft(in, parts(), Draft{Path: filepath.Join(dir, file), Data: []byte(c.after)})
			if err != nil {
				t.Fatal(err)
			}
			if c.want == "" && len(fresh) == 0 {
				return
			}
			if len(fresh) != 1 || !strings.Contains(fresh[0].Message, c.want) {
				t.Errorf("new is\n%swant one with %q", details(fresh), c.want)
			}
		})
	}
}

// A reload finds an error that is new among many that are not.
func TestReloadWithManyErrors(t *testing.T) {
	t.Parallel()
	text := hostConfig("", many(`<site name="s$" id="1$"><application path="/" applicationPool="p$"><virtualDirectory path="/" physicalPath="." /></application><bindings><binding protocol="http" bindingInformation="*:81:s$.test" /></bindings></site>`)+plainSite(9, "last", "*:80:", "."))
	dir := tree(t, map[string]string{"applicationHost.config": text, "index.html": ""})
	p := mustBuild(t, served(dir), nil)
	write(t, dir, "applicationHost.config", strings.Replace(text, "*:80:", "*:eighty:", 1))
	_, err := Build(served(dir), parts(), p)
	var problems config.Problems
	if !errors.As(err, &problems) || problems[0].Code != config.BadBinding || len(problems) > config.MaxErrors {
		t.Errorf("a reload says %v", err)
	}
}
