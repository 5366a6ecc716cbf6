package edit

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseSetting(t *testing.T) {
	t.Parallel()
	header := Path{Steps: []Step{Elem("a.b"), Elem("c"), Elem("add", "name", "X Y", "value", "1")}}
	for text, want := range map[string]struct {
		path  Path
		value string
		set   bool
	}{
		"a/@b=":                                 {Path{[]Step{Elem("a")}, "b"}, "", true},
		"a/@b=c=d/@e":                           {Path{[]Step{Elem("a")}, "b"}, "c=d/@e", true},
		"a/@max-age":                            {Path{[]Step{Elem("a")}, "max-age"}, "", false},
		"a/clear":                               {Path{Steps: []Step{Elem("a"), Elem("clear")}}, "", false},
		"a[@x='/]']/@b=1":                       {Path{[]Step{Elem("a", "x", "/]")}, "b"}, "1", true},
		`a[x="it's"]`:                           {Path{Steps: []Step{Elem("a", "x", "it's")}}, "", false},
		"a[x=]":                                 {Path{Steps: []Step{Elem("a", "x", "")}}, "", false},
		"a.b/c/add[@name='X Y' and @value='1']": {header, "", false},
		"a.b/c/add[ @name = 'X Y' , @value = '1' ]": {header, "", false},
		"a.b/c/add[name='X Y',value=1]":             {header, "", false},
		"a.b/c/add[@name='X Y'][@value='1']":        {header, "", false},
	} {
		p, value, set, err := ParseSetting(text)
		if diff := cmp.Diff(want.path, p); err != nil || diff != "" || value != want.value || set != want.set {
			t.Errorf("%s: %v %q %v %v\n%s", text, p, value, set, err, diff)
		}
		if again, err := ParsePath(p.String()); err != nil || again.String() != p.String() {
			t.Errorf("%s is written %s: %v", text, p, err)
		}
	}
	for text, want := range map[string]string{
		"":          "ends too early",
		"/a":        "goes wrong at \"/a\"",
		"a/":        "ends too early",
		"a//b":      "goes wrong at \"/b\"",
		"@a":        "goes wrong at \"@a\"",
		"a/@":       "name of an attribute",
		"a/@b/c":    "a value is that of an attribute",
		"a=1":       "/@NAME=VALUE",
		"a[":        "name of an attribute",
		"a[x":       "= and a value",
		"a[x='1]":   "quote is not closed",
		"a[x=1":     "bracket is not closed",
		"a[x=1 or]": "bracket is not closed",
		"a b":       "goes wrong at \" b\"",
	} {
		_, _, _, err := ParseSetting(text)
		var wrong *PathError
		if !errors.As(err, &wrong) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	const text = `<configuration>
  <system.applicationHost>
    <sites configSource="conf\sites.config" />
  </system.applicationHost>
  <system.webServer>
    <httpErrors><error statusCode="404" subStatusCode="3" /><error statusCode="404" subStatusCode="4" /></httpErrors>
  </system.webServer>
</configuration>`
	for setting, want := range map[string]string{
		"system.webServer/httpErrors/error[@statusCode='404']/@path=x":           "fits several elements, at f:6:17 and at f:6:61; say which, by statusCode, subStatusCode",
		"system.webServer/handlers/add/@path=x":                                  "say which, as in add[@name='...']",
		"system.webServer/httpProtocol/customHeaders/remove":                     "say which, as in remove[@name='...']",
		"system.applicationHost/sites/site[@name='a']/@id=1":                     "f:3:12: system.applicationHost/sites is in the file conf/sites.config",
		"system.webServer/aspNetCore/@processPath=a\x01":                         "U+0001",
		"system.webServer/httpProtocol/customHeaders/add[@name='\x02']/@value=a": "U+0002",
		"system.webServer/aspNetCore/@processPath=a\xff":                         "UTF-8",
	} {
		f, err := Parse("f", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		p, value, set, err := ParseSetting(setting)
		if err != nil {
			t.Fatal(err)
		}
		if set {
			err = f.Set("", p, value)
		} else {
			err = f.Ensure("", p)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", setting, err, want)
		}
		if string(f.Bytes()) != text {
			t.Errorf("%s was refused, and the file has changed", setting)
		}
	}
	if _, err := Parse("f", []byte("<configuration>")); err == nil {
		t.Error("a file that is not well-formed can be changed")
	}
}

func TestIncluded(t *testing.T) {
	t.Parallel()
	f, err := ParseIncluded("sites.config", "system.applicationHost/sites", []byte("<sites>\n\t<site name=\"a\" id=\"1\"/>\n</sites>\n"))
	if err != nil {
		t.Fatal(err)
	}
	path := Path{Steps: []Step{Elem("system.applicationHost"), Elem("sites")}}
	if err := f.Ensure("", path.Below(Elem("site", "name", "b", "id", "2"))); err != nil {
		t.Fatal(err)
	}
	if want := "<sites>\n\t<site name=\"a\" id=\"1\"/>\n\t<site name=\"b\" id=\"2\"/>\n</sites>\n"; string(f.Bytes()) != want {
		t.Errorf("%s", f.Bytes())
	}
	pools := Path{Steps: []Step{Elem("system.applicationHost"), Elem("applicationPools"), Elem("add", "name", "p")}}
	if err := f.Ensure("", pools); err == nil {
		t.Error("a section went into the file of another one")
	}
}
