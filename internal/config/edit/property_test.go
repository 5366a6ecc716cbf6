package edit

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/perchserver/perch/internal/config/merge"
	"github.com/perchserver/perch/internal/config/xmldoc"
)

// document generates the text of a web.config in many a style.
func document() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		nl := rapid.SampledFrom([]string{"\n", "\r\n", "\n\n", "", " ", "\r"}).Draw(t, "line end")
		unit := rapid.SampledFrom([]string{"  ", "\t", "    ", ""}).Draw(t, "unit")
		quote := rapid.SampledFrom([]string{`"`, `'`}).Draw(t, "quote")
		space := rapid.SampledFrom([]string{" ", "  ", "\n   ", "\t"}).Draw(t, "space")
		end := rapid.SampledFrom([]string{"/>", " />", "\n/>"}).Draw(t, "end")
		var b strings.Builder
		depth := 0
		line := func(text string) { b.WriteString(nl + strings.Repeat(unit, depth) + text) }
		comment := func() {
			if rapid.IntRange(0, 3).Draw(t, "comment") == 0 {
				text := "<!-- " + rapid.SampledFrom([]string{"a", "é\r\nb", "<add/>", " ' & "}).Draw(t, "text") + " -->"
				if rapid.Bool().Draw(t, "same line") {
					b.WriteString(" " + text)
				} else {
					line(text)
				}
			}
		}
		element := func(name, attrs string, inside func()) {
			line("<" + name + attrs)
			if inside == nil {
				b.WriteString(end)
				return
			}
			b.WriteString(">")
			depth++
			comment()
			inside()
			depth--
			line("</" + name + ">")
			comment()
		}
		attr := func(name, value string) string { return space + name + "=" + quote + value + quote }
		maybe := func(do func()) {
			if rapid.Bool().Draw(t, "there") {
				do()
			}
		}
		sections := func() {
			maybe(func() {
				element("httpProtocol", "", func() {
					maybe(func() {
						element("customHeaders", "", func() {
							for i := range rapid.IntRange(0, 4).Draw(t, "headers") {
								element("add", attr("name", fmt.Sprint("X-", i))+attr("value", rapid.SampledFrom([]string{"1", "&amp;é", ""}).Draw(t, "value")), nil)
								comment()
							}
						})
					})
				})
			})
			maybe(func() { element("webSocket", attr("enabled", "true"), nil) })
			maybe(func() { element("directoryBrowse", "", func() {}) })
		}
		b.WriteString("<configuration>")
		depth = 1
		maybe(func() { element("location", attr("path", "a"), func() { element("system.webServer", "", sections) }) })
		maybe(func() { element("system.webServer", "", sections) })
		depth = 0
		line("</configuration>" + nl)
		return b.String()
	})
}

// operation is one edit.
type operation struct {
	Verb, Location, Path, Value string
}

func operations() *rapid.Generator[operation] {
	return rapid.Custom(func(t *rapid.T) operation {
		o := operation{
			Verb:     rapid.SampledFrom([]string{"set", "ensure", "unset"}).Draw(t, "verb"),
			Location: rapid.SampledFrom([]string{"", "a", "A/", "b/c"}).Draw(t, "location"),
		}
		header := fmt.Sprintf("system.webServer/httpProtocol/customHeaders/add[@name='%s']", rapid.SampledFrom([]string{"X-0", "x-1", "X-3", "X-9"}).Draw(t, "header"))
		settings := map[string][]string{
			header + "/@value":                                                {"1", "a & <b> \"c\" 'd'", "é  ", ""},
			"system.webServer/webSocket/@enabled":                             {"true", "false"},
			"system.webServer/directoryBrowse/@enabled":                       {"true", "false"},
			"system.webServer/httpProtocol/@allowKeepAlive":                   {"true", "false"},
			"system.webServer/security/requestFiltering/@allowDoubleEscaping": {"true"},
		}
		o.Path = rapid.SampledFrom(slices.Sorted(maps.Keys(settings))).Draw(t, "path")
		if o.Verb == "set" {
			o.Value = rapid.SampledFrom(settings[o.Path]).Draw(t, "value")
		} else if rapid.Bool().Draw(t, "element") || o.Verb == "ensure" {
			o.Path = o.Path[:strings.LastIndex(o.Path, "/@")]
			if o.Verb == "ensure" && strings.Contains(o.Path, "name=") {
				o.Path += "[@value='e']"
			}
		}
		return o
	})
}

func (o operation) do(f *File) error {
	p, err := ParsePath(o.Path)
	if err != nil {
		return err
	}
	switch o.Verb {
	case "set":
		return f.Set(o.Location, p, o.Value)
	case "ensure":
		return f.Ensure(o.Location, p)
	}
	_, err = f.Unset(o.Location, p)
	return err
}

// What an edit changes is one part of the text, and in it nothing but what was
// asked for: comments stay, the values that hold are those from before but
// for the one that was set, and doing it again changes nothing.
func TestOneChangeAndNoOther(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		before := document().Draw(t, "document")
		o := operations().Draw(t, "operation")
		f, err := Parse("web.config", []byte(before))
		if err != nil {
			t.Fatalf("%v\n%s", err, before)
		}
		if err := o.do(f); err != nil {
			t.Fatalf("%v: %v\n%s", o, err, before)
		}
		after := string(f.Bytes())
		switch o.Verb {
		case "ensure":
			within(t, before, after, 0)
		case "unset":
			within(t, after, before, 0)
		case "set":
			within(t, before, after, len("a &amp; &lt;b> &quot;c&quot; 'd'"))
		}
		if a, b := comments(f.doc.Nodes), comments(parsed(t, before).Nodes); o.Verb != "unset" && a != b || len(a) > len(b) {
			t.Fatalf("comments %q became %q", b, a)
		}
		was, is := effects(t, before), effects(t, after)
		for _, at := range []string{"/", "/a", "/b/c"} {
			_, bad := was[at]
			if _, now := is[at]; bad || now {
				drop := func(key, _ string) bool { return key == at || strings.HasPrefix(key, at+" ") }
				maps.DeleteFunc(was, drop)
				maps.DeleteFunc(is, drop)
			}
		}
		path := "/" + o.Location
		for key, value := range is {
			if was[key] != value && !o.touches(key, path) {
				t.Fatalf("%v: %s became %q of %q\n%s\n%s", o, key, value, was[key], before, after)
			}
		}
		for key := range was {
			if _, still := is[key]; !still && !o.touches(key, path) {
				t.Fatalf("%v: %s is gone\n%s\n%s", o, key, before, after)
			}
		}
		if err := o.do(f); err != nil || string(f.Bytes()) != after {
			t.Fatalf("%v again: %v\n%s\n%s", o, err, after, f.Bytes())
		}
		if o.Verb == "set" {
			p, _ := ParsePath(o.Path)
			n, missing, err := f.walk(o.Location, p)
			if err != nil || len(missing) > 0 || n.Attr(p.Attribute).Value != o.Value {
				t.Fatalf("%v is not set:\n%s", o, after)
			}
		}
	})
}

// within checks that long is short with something put in at one place, where
// short loses at most lost bytes and white space.
func within(t *rapid.T, short, long string, lost int) {
	head := 0
	for head < len(short) && head < len(long) && short[head] == long[head] {
		head++
	}
	tail := 0
	for tail < len(short)-head && tail < len(long)-head && short[len(short)-1-tail] == long[len(long)-1-tail] {
		tail++
	}
	// "<a />" becomes "<a>...</a>", where " /" is lost, and blanks a line end.
	if gone := strings.Trim(short[head:len(short)-tail], " \t\r\n/"); len(gone) > lost {
		t.Fatalf("%q is lost:\n%s\n%s", gone, short, long)
	}
}

func parsed(t *rapid.T, text string) *xmldoc.Document {
	doc, problems := xmldoc.Parse("f", []byte(text))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return doc
}

func comments(nodes []*xmldoc.Node) string {
	var b strings.Builder
	for _, n := range nodes {
		if n.Kind == xmldoc.CommentNode {
			b.WriteString(n.Value + "\n")
		}
		b.WriteString(comments(n.Children))
	}
	return b.String()
}

// effects returns every value that a web.config makes hold, by path and name.
func effects(t *rapid.T, text string) map[string]string {
	file, problems := merge.Load("web.config", []byte(text))
	if problems.HasErrors() {
		t.Fatalf("%v\n%s", problems, text)
	}
	all := map[string]string{}
	for _, at := range []string{"/", "/a", "/b/c"} {
		s, problems := merge.Effective([]merge.Layer{{File: file, At: "/"}}, at, nil)
		if s == nil {
			all[at] = "" // one header twice
			continue
		}
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		for _, section := range s.Sections() {
			describe(all, at+" "+section, s.Section(section))
		}
	}
	return all
}

func describe(all map[string]string, name string, e merge.Element) {
	for _, a := range e.Schema().AttributeNames() {
		if v := e.Attribute(a); v.Set {
			all[name+"/@"+a] = v.Text
		}
	}
	for i := range e.Schema().Elements {
		if c := e.Child(e.Schema().Elements[i].Name); c.Present {
			describe(all, name+"/"+e.Schema().Elements[i].Name, c)
		}
	}
	if e.Schema().Collection != nil {
		for _, entry := range e.Entries() {
			key := name + "/add[@name='" + strings.ToLower(entry.Text("name")) + "']"
			describe(all, key, entry)
		}
	}
}

// touches reports whether the value of that key may change by the operation.
func (o operation) touches(key, path string) bool {
	at, name, _ := strings.Cut(key, " ")
	path = strings.TrimSuffix(strings.ToLower(path), "/")
	if path != "" && at != path {
		return false
	}
	own, _, _ := strings.Cut(strings.ToLower(o.Path), "[@value")
	return strings.HasPrefix(strings.ToLower(name), strings.TrimSuffix(own, "/@value"))
}

// An entry that is added and taken away again leaves no trace, where the
// collection was there.
func TestAddAndRemove(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		before := document().Filter(func(text string) bool {
			return strings.Contains(text, "</customHeaders>") && !strings.Contains(text, "<location") && strings.Contains(text, "name=")
		}).Draw(t, "document")
		f, err := Parse("web.config", []byte(before))
		if err != nil {
			t.Fatal(err)
		}
		entry := Path{Steps: []Step{Elem("system.webServer"), Elem("httpProtocol"), Elem("customHeaders"), Elem("add", "name", "Q", "value", "1")}}
		if err := f.Ensure("", entry); err != nil {
			t.Fatal(err)
		}
		added := string(f.Bytes())
		if found, err := f.Unset("", entry); !found || err != nil {
			t.Fatalf("%v, %v", found, err)
		}
		if diff := cmp.Diff(before, string(f.Bytes())); diff != "" {
			t.Fatalf("%s\n%q\n%q", diff, before, added)
		}
	})
}

// What is made for a setting goes with it, where it was put into an element
// that had something in it.
func TestSetAndUnset(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		before := document().Draw(t, "document")
		o := operations().Filter(func(o operation) bool { return o.Verb == "set" }).Draw(t, "operation")
		f, err := Parse("web.config", []byte(before))
		if err != nil {
			t.Fatal(err)
		}
		p, err := ParsePath(o.Path)
		if err != nil {
			t.Fatal(err)
		}
		n, missing, err := f.walk(o.Location, p)
		if err != nil || len(missing) == 0 || hollow(n, nil) {
			return
		}
		if err := f.Set(o.Location, p, o.Value); err != nil {
			t.Fatal(err)
		}
		made := f.Bytes()
		if found, err := f.Unset(o.Location, Path{Steps: p.Steps}); !found || err != nil {
			t.Fatalf("%v, %v", found, err)
		}
		if diff := cmp.Diff(before, string(f.Bytes())); diff != "" {
			t.Fatalf("%v: %s\n%s", o, diff, made)
		}
	})
}

// FuzzEdit changes any file by any setting. What comes out is well-formed, has
// the value, and all comments.
func FuzzEdit(f *testing.F) {
	f.Add("<configuration>\r\n\t<system.webServer>\r\n\t\t<webSocket enabled='true'/>\r\n\t</system.webServer>\r\n</configuration>", "", "system.webServer/webSocket/@enabled=false")
	f.Add("<configuration><!-- c --><location path='a'><system.webServer/></location></configuration>", "A", "system.webServer/httpProtocol/customHeaders/add[@name='X' and value=\"y\"]/@value=&<\"'\n")
	f.Add("\xef\xbb\xbf<configuration />", "b", "system.webServer/httpProtocol/customHeaders/remove[@name='X']")
	f.Add("<configuration><system.applicationHost><sites configSource='s.config'/></system.applicationHost></configuration>", "", "system.applicationHost/sites/site[@name='a']/@id=1")
	f.Add("<a xmlns='x'>text<b/>\r</a >", "/", "b/clear")
	f.Fuzz(func(t *testing.T, text, location, setting string) {
		p, value, set, err := ParseSetting(setting)
		if err != nil {
			return
		}
		if again, err := ParsePath(p.String()); err == nil && again.String() != p.String() {
			t.Fatalf("%q is written %q and read as %q", setting, p, again)
		}
		file, err := Parse("f", []byte(text))
		if err != nil {
			return
		}
		kept := comments(file.doc.Nodes)
		if set {
			err = file.Set(location, p, value)
		} else if p.Attribute == "" {
			err = file.Ensure(location, p)
		} else {
			_, err = file.Unset(location, p)
		}
		if err != nil {
			return
		}
		if again, err := Parse("f", file.Bytes()); err != nil || comments(again.doc.Nodes) != kept {
			t.Fatalf("%v\n%q", err, file.Bytes())
		}
		if n, missing, err := file.walk(location, p); set && p.Attribute != "configSource" && !overwrites(p) &&
			(err != nil && !errors.As(err, new(*AmbiguousError)) || err == nil && (len(missing) > 0 || n.Attr(p.Attribute).Value != value)) {
			t.Fatalf("%v, %v: not set in %q", err, missing, file.Bytes())
		}
		if _, err := file.Unset(location, p); err != nil && !errors.As(err, new(*AmbiguousError)) && !errors.As(err, new(*IncludedError)) && p.Attribute != "" {
			t.Fatal(err)
		}
	})
}

// overwrites reports whether a setting changes what its path is found by.
func overwrites(p Path) bool {
	if len(p.Steps) == 0 {
		return true
	}
	return p.Steps[0].Name == "location" || slices.ContainsFunc(p.Steps, func(s Step) bool {
		return slices.ContainsFunc(s.Where, func(a Attr) bool { return a.Name == p.Attribute })
	})
}
