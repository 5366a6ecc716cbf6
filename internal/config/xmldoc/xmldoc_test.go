package xmldoc

import (
	"encoding/binary"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/perchserver/perch/internal/config"
)

const published = `<?xml version="1.0" encoding="utf-8"?>
<configuration>
  <location path="." inheritInChildApplications="false">
    <system.webServer>
      <aspNetCore processPath="dotnet" arguments=".\App.dll" stdoutLogEnabled="false" />
    </system.webServer>
  </location>
</configuration>
<!--ProjectGuid: 5c1d2f0e-->
`

func encoded(t *testing.T, e Encoding, text string) []byte {
	t.Helper()
	return e.encode(text)
}

// outline tells a tree in one line per node.
func outline(nodes []*Node, indent string) string {
	var b strings.Builder
	for _, n := range nodes {
		if n.Blank() {
			continue
		}
		fmt.Fprintf(&b, "%s%d %s %q", indent, n.Kind, n.Name, n.Value)
		for _, a := range n.Attrs {
			fmt.Fprintf(&b, " %s=%q", a.Name, a.Value)
		}
		b.WriteString("\n" + outline(n.Children, indent+"  "))
	}
	return b.String()
}

func TestTree(t *testing.T) {
	t.Parallel()
	doc, problems := Parse("web.config", []byte(published))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := `5 xml "version=\"1.0\" encoding=\"utf-8\""
1 configuration ""
  1 location "" path="." inheritInChildApplications="false"
    1 system.webServer ""
      1 aspNetCore "" processPath="dotnet" arguments=".\\App.dll" stdoutLogEnabled="false"
4  "ProjectGuid: 5c1d2f0e"
`
	if diff := cmp.Diff(want, outline(doc.Nodes, "")); diff != "" {
		t.Error(diff)
	}
	if !doc.Whole || doc.Root.Name != "configuration" {
		t.Errorf("whole %v, root %q", doc.Whole, doc.Root.Name)
	}
}

func TestSpans(t *testing.T) {
	t.Parallel()
	const text = "<r>\r\n <!--c--><a k = 'v' >t</a ></r>"
	doc, problems := Parse("f", []byte(text))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	a := doc.Root.Children[2]
	attr := a.Attr("k")
	for what, c := range map[string]struct {
		span Span
		want string
	}{
		"root":       {doc.Root.Span, text},
		"start tag":  {a.Open, "<a k = 'v' >"},
		"end tag":    {a.Close, "</a >"},
		"element":    {a.Span, "<a k = 'v' >t</a >"},
		"attribute":  {attr.Span, "k = 'v'"},
		"value":      {attr.ValueSpan, "v"},
		"comment":    {doc.Root.Children[1].Span, "<!--c-->"},
		"white text": {doc.Root.Children[0].Span, "\r\n "},
	} {
		if got := doc.Slice(c.span); got != c.want {
			t.Errorf("%s: %q, want %q", what, got, c.want)
		}
	}
	if a.Attr("none") != nil {
		t.Error("an attribute from nowhere")
	}
}

func TestPos(t *testing.T) {
	t.Parallel()
	s := newSource("f", "ab\r\nä€𝄞x\ry\n")
	for offset, want := range map[int]string{
		-1: "f:1:1", 0: "f:1:1", 2: "f:1:3", 4: "f:2:1", 6: "f:2:2", 9: "f:2:3", 13: "f:2:4", 15: "f:3:1", 17: "f:4:1", 99: "f:4:1",
	} {
		if got := s.Pos(offset).String(); got != want {
			t.Errorf("offset %d: %s, want %s", offset, got, want)
		}
	}
}

// Columns of a long line count its characters, wherever the strides end in
// which they are counted.
func TestPosInLongLines(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("x", stride-1) + "é\n" + strings.Repeat("aé𝄞", 2*stride) + "\n" + strings.Repeat("y", 2*stride-1)
	s := newSource("f", text)
	line, start := 1, 0
	for offset, r := range text + "$" { // "$" for the place behind the text
		want := config.Pos{File: "f", Line: line, Column: 1 + utf8.RuneCountInString(text[start:offset])}
		if offset%97 == 0 || offset%stride < 4 || offset == len(text) {
			if got := s.Pos(offset); got != want {
				t.Fatalf("offset %d: %v, want %v", offset, got, want)
			}
		}
		if r == '\n' {
			line, start = line+1, offset+1
		}
	}
	if got := newSource("f", "").Pos(0); got != (config.Pos{File: "f", Line: 1, Column: 1}) {
		t.Errorf("an empty text: %v", got)
	}
}

// Places in one line of ten megabytes cost no more than others: problems and
// warnings may be many.
func BenchmarkPosInLongLine(b *testing.B) {
	s := newSource("f", strings.Repeat("x", 10<<20))
	for i := 0; b.Loop(); i++ {
		s.Pos((i * 7919) % (10 << 20))
	}
}

func TestEncodings(t *testing.T) {
	t.Parallel()
	const body = "<r a=\"ä𝄞\"/>"
	const declared16 = `<?xml version="1.0" encoding="utf-16"?>` + body
	little, big := binary.LittleEndian, binary.BigEndian
	for name, c := range map[string]struct {
		data []byte
		want Encoding
	}{
		"UTF-8":                   {[]byte(body), Encoding{}},
		"UTF-8 with mark":         {[]byte(mark8 + body), Encoding{Mark: true}},
		"UTF-8 declared":          {[]byte(`<?xml version="1.0" encoding="UTF-8"?>` + body), Encoding{}},
		"ASCII declared":          {[]byte(`<?xml version='1.0' encoding='us-ascii' ?><r/>`), Encoding{}},
		"UTF-16LE with mark":      {encoded(t, Encoding{Order: little, Mark: true}, body), Encoding{Order: little, Mark: true}},
		"UTF-16BE with mark":      {encoded(t, Encoding{Order: big, Mark: true}, declared16), Encoding{Order: big, Mark: true}},
		"UTF-16LE by declaration": {encoded(t, Encoding{Order: little}, declared16), Encoding{Order: little}},
		"UTF-16BE by declaration": {encoded(t, Encoding{Order: big}, declared16), Encoding{Order: big}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			doc, problems := Parse("f", c.data)
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			if doc.Encoding != c.want {
				t.Errorf("encoding %v, want %v", doc.Encoding, c.want)
			}
			if string(doc.Bytes()) != string(c.data) {
				t.Errorf("printed as %q", doc.Bytes())
			}
			if a := doc.Root.Attr("a"); a != nil && a.Value != "ä𝄞" {
				t.Errorf("value %q", a.Value)
			}
		})
	}
}

func TestValues(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		`a="&lt;&gt;&amp;&apos;&quot;"`:  `<>&'"`,
		`a="&#65;&#x41;&#x1D11E;&#10;"`:  "AA𝄞\n",
		"a=\"1\r\n2\n3\r4\t5\"":          "1 2 3 4 5",
		`a='"'`:                          `"`,
		"a\n=\n\"x\"":                    "x",
		`a=">"`:                          ">",
		`a="&#0000000065;"`:              "A",
		`a="&amp;lt;"`:                   "&lt;",
		`ä.-·="v" a="w"`:                 "w",
		`b="" a="x]]>y"`:                 "x]]>y",
		`x:a="1" xmlns:x="urn:x" a="2" `: "2",
	} {
		doc, problems := Parse("f", []byte("<r "+raw+"/>"))
		if len(problems) > 0 {
			t.Errorf("%s: %v", raw, problems)
			continue
		}
		if got := doc.Root.Attr("a").Value; got != want {
			t.Errorf("%s: %q, want %q", raw, got, want)
		}
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	doc, problems := Parse("f", []byte("<r>a&amp;b\r\nc\rd<![CDATA[<x>&amp;]]]]><?do  it\r\n?></r>"))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := "2  \"a&b\\nc\\nd\"\n3  \"<x>&amp;]]\"\n5 do \"it\\n\"\n"
	if diff := cmp.Diff(want, outline(doc.Root.Children, "")); diff != "" {
		t.Error(diff)
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{ // file f, "line:column code" of every problem
		"":                                  "1:1 PC003",
		"  ":                                "1:1 PC003",
		"text":                              "1:1 PC003",
		"<a/>x":                             "1:5 PC003",
		"<a/>é":                             "1:5 PC003",
		"<a/><b/>":                          "1:5 PC003",
		"<a/><![CDATA[x]]>":                 "1:5 PC003",
		"<a>":                               "1:4 PC004",
		"<a>\n<b>\n</a>":                    "3:1 PC004",
		"<a><b><c></a>":                     "1:10 PC004 1:10 PC004",
		"<a></b></a>":                       "1:4 PC004",
		"</a>":                              "1:1 PC004",
		"<a></A>":                           "1:4 PC004 1:8 PC004",
		"<a></a >x</a>":                     "1:9 PC003 1:10 PC004",
		"<a></a b></a>":                     "1:4 PC003",
		"<a></>  </a>":                      "1:4 PC003",
		"<a x='1' x='2'/>":                  "1:10 PC007",
		"<a x='1'y='2'/>":                   "1:9 PC003",
		"<a x=1/>":                          "1:4 PC003",
		"<a x/>":                            "1:4 PC003",
		"<a x='1/>":                         "1:4 PC003",
		"<a x='<'/>":                        "1:7 PC003",
		"<a =''/>":                          "1:4 PC003",
		"<1a/>":                             "1:1 PC003",
		"<a>< b/></a>":                      "1:4 PC003",
		"<a 1='2'/>":                        "1:4 PC003",
		"<a x='&'/>":                        "1:7 PC006",
		"<a x='a&b;c'/>":                    "1:8 PC006",
		"<a x='&nbsp;'/>":                   "1:7 PC006",
		"<a>&#0;&#xD800;&#xFFFE;&#x110000;": "1:4 PC006 1:8 PC006 1:16 PC006 1:24 PC006 1:34 PC004",
		"<a>&#+65;&#x;&#;&#65</a>":          "1:4 PC006 1:10 PC006 1:14 PC006 1:17 PC006",
		"<a>]]></a>":                        "1:4 PC003",
		"<a><!-- -- --></a>":                "1:9 PC003",
		"<a><!----->":                       "1:8 PC003 1:12 PC004",
		"<a><!-- </a>":                      "1:4 PC003",
		"<a><![CDATA[ </a>":                 "1:4 PC003",
		"<a><?x </a>":                       "1:4 PC003",
		"<a><?1x?></a>":                     "1:4 PC003",
		"<a><?x/y?></a>":                    "1:4 PC003",
		"<a><?XML ?></a>":                   "1:4 PC003",
		"\n<?xml version='1.0'?><a/>":       "2:1 PC003",
		"<?XML version='1.0'?><a/>":         "1:1 PC003",
		"<?xml?><a/>":                       "1:6 PC003",
		"<?xml version='1.1'?><a/>":         "1:16 PC003",
		"<?xml encoding='utf-8'?><a/>":      "1:6 PC003",
		"<?xml version='1.0' x='y'?><a/>":   "1:21 PC003",
		"<?xml version='1.0' standalone='maybe'?><a/>":               "1:33 PC003",
		"<?xml version='1.0' standalone='no' encoding='utf-8'?><a/>": "1:37 PC003",
		"<?xml version='1.0' encoding='utf-16'?><a/>":                "1:31 PC001",
		"<?xml version='1.0' encoding='windows-1252'?><a/>":          "1:31 PC001",
		"<?xml version='1.0' encoding='us-ascii'?><a b='é'/>":        "1:31 PC001",
		"<!DOCTYPE a><a/>":                           "1:1 PC005",
		"<!DOCTYPE a [<!ENTITY b '>]>'>]><a>&b;</a>": "1:1 PC005 1:36 PC006",
		"<!DOCTYPE":                     "1:1 PC005",
		"<a><!ELEMENT b></a>":           "1:4 PC003",
		"<a>\x00\x01</a>":               "1:4 PC003 1:5 PC003",
		"<a b='\ufffe'/>":               "1:7 PC003",
		"<a>\xff</a>":                   "1:4 PC001",
		"<a>\n\xc3\xa9\xed\xa0\x80</a>": "2:2 PC001",
		"\x00\x00\xfe\xff":              "",
		mark16Small + "<\x00a\x00\x00\xd8/\x00>\x00": "1:3 PC001",
		mark16Small + "<\x00a\x00/\x00>\x00x":        "1:5 PC001",
		mark16Big + "\x00<\x00a\x00/\x00>\xdc\x00":   "1:5 PC001",
		string(Encoding{Order: binary.LittleEndian, Mark: true}.encode("<?xml version='1.0' encoding='utf-8'?><a/>")): "1:31 PC001",
		"<a b='1' b='2'>\n  <c d='&x;'>\n</a>\n<e/>":                                                                  "1:10 PC007 2:9 PC006 3:1 PC004 4:1 PC003",
	} {
		doc, problems := Parse("f", []byte(text))
		var got []string
		for _, p := range problems {
			if p.Line > 0 {
				got = append(got, fmt.Sprintf("%d:%d %s", p.Line, p.Column, p.Code))
			}
			if p.Message == "" || p.Severity != config.Error {
				t.Errorf("%q: %+v", text, p)
			}
		}
		if s := strings.Join(got, " "); s != want || len(problems) == 0 {
			t.Errorf("%q:\n%v\nwant %s", text, problems, want)
		}
		if doc == nil && len(problems) != 1 {
			t.Errorf("%q: no document and %d problems", text, len(problems))
		}
	}
}

func TestWhole(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"<a b='1' b='2'>&x;</a>": true,  // wrong, but every tag is where it was meant
		"<a><b></a>":             false, // where <b> ends is a guess
		"<a><b c='<d>'/></a>":    false, // perhaps a quote is missing
	} {
		if doc, _ := Parse("f", []byte(text)); doc.Whole != want {
			t.Errorf("%s: whole is %v", text, doc.Whole)
		}
	}
}

func TestProblemShowsItsLine(t *testing.T) {
	t.Parallel()
	_, problems := Parse("dir/web.config", []byte("<a>\r\n\t<b c=\"1\" c=\"2\"/>\r\n</a>"))
	if len(problems) != 1 {
		t.Fatal(problems)
	}
	want := "dir/web.config:2:11: error PC007: the attribute c is set twice on one element\n" +
		"  2 | \t<b c=\"1\" c=\"2\"/>\n" +
		"    | \t         ^\n" +
		"  hint: keep one of the two\n"
	if diff := cmp.Diff(want, problems[0].Detail()); diff != "" {
		t.Error(diff)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	nested := func(n int) string { return strings.Repeat("<a>", n) + strings.Repeat("</a>", n) }
	manyAttrs := func(n int) string {
		var b strings.Builder
		b.WriteString("<r")
		for i := range n {
			fmt.Fprintf(&b, " a%d=''", i)
		}
		return b.String() + "/>"
	}
	for name, c := range map[string]struct {
		text string
		want config.Code // "" for none
	}{
		"size":                 {strings.Repeat(" ", MaxBytes-4) + "<a/>", ""},
		"size, one more":       {strings.Repeat(" ", MaxBytes-3) + "<a/>", config.TooLarge},
		"depth":                {nested(MaxDepth), ""},
		"depth, one more":      {nested(MaxDepth + 1), config.TooLarge},
		"parts":                {"<r>" + strings.Repeat("<a/>", MaxParts-1) + "</r>", ""},
		"parts, one more":      {"<r>" + strings.Repeat("<a/>", MaxParts) + "</r>", config.TooLarge},
		"attributes":           {manyAttrs(MaxParts - 1), ""},
		"attributes, one more": {manyAttrs(MaxParts), config.TooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, problems := Parse("f", []byte(c.text))
			if c.want == "" {
				if len(problems) > 0 {
					t.Error(problems)
				}
				return
			}
			if len(problems) != 1 || problems[0].Code != c.want {
				t.Errorf("%v, want one %s", problems, c.want)
			}
		})
	}
}

// A large file in one line that is wrong everywhere is told within bounds.
func TestManyProblemsInOneLine(t *testing.T) {
	t.Parallel()
	_, problems := Parse("f", []byte("<r>"+strings.Repeat("&", 1<<18)))
	if len(problems) != config.MaxErrors {
		t.Errorf("%d problems", len(problems))
	}
}

func TestDuplicateAmongManyAttributes(t *testing.T) {
	t.Parallel()
	for _, n := range []int{2, 15, 16, 17, 40} {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, " a%d=''", i)
		}
		for _, twice := range []int{0, n - 1} {
			_, problems := Parse("f", []byte(fmt.Sprintf("<r%s a%d=''/>", b.String(), twice)))
			if len(problems) != 1 || problems[0].Code != config.TwiceOnTag {
				t.Errorf("%d attributes, number %d twice: %v", n, twice, problems)
			}
		}
	}
}

// What a random tree prints is read as the same tree, in every encoding.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		order := rapid.SampledFrom([]binary.ByteOrder{nil, binary.LittleEndian, binary.BigEndian}).Draw(t, "order")
		enc := Encoding{Order: order, Mark: rapid.Bool().Draw(t, "mark")}
		text := element(3).Draw(t, "text")
		data := enc.encode(text)
		doc, problems := Parse("f", data)
		if len(problems) > 0 {
			t.Fatalf("%q: %v", text, problems)
		}
		if doc.Encoding != enc || string(doc.Bytes()) != string(data) {
			t.Fatalf("%v %q printed as %v %q", enc, data, doc.Encoding, doc.Bytes())
		}
		if err := standardAccepts(text); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
	})
}

// element generates the text of an element with at most depth levels in it.
func element(depth int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		name := rapid.StringMatching(`[a-z][a-zA-Z0-9.-]{0,8}`).Draw(t, "name")
		space := rapid.StringMatching(`[ \r\n\t]{0,3}`)
		var b strings.Builder
		b.WriteString("<" + name)
		for i := range rapid.IntRange(0, 3).Draw(t, "attributes") {
			value := rapid.StringMatching(`([ -%(-;=-~é𝄞\r\n\t]|&#?z?){0,8}`).Draw(t, "value")
			value = strings.ReplaceAll(value, "&", "&amp;")
			fmt.Fprintf(&b, " %sa%d%s='%s'", space.Draw(t, "before"), i, space.Draw(t, "equals"), value)
		}
		b.WriteString(space.Draw(t, "behind"))
		if depth == 0 || rapid.Bool().Draw(t, "empty") {
			return b.String() + "/>"
		}
		b.WriteString(">")
		for range rapid.IntRange(0, 4).Draw(t, "children") {
			b.WriteString(rapid.OneOf(
				element(depth-1),
				rapid.StringMatching(`<!--[ -,.-~é\r\n]{0,8}-->`),
				rapid.StringMatching(`<!\[CDATA\[[ -\\^-~𝄞\r\n]{0,8}\]\]>`),
				rapid.StringMatching(`<\?do( [ ->@-~]{0,8})?\?>`),
				rapid.StringMatching(`([ -%'-;=?-~é𝄞\r\n]|&lt;|&#x41;){1,8}`).Filter(func(s string) bool { return !strings.Contains(s, "]]>") }),
			).Draw(t, "child"))
		}
		return b.String() + "</" + name + space.Draw(t, "end") + ">"
	})
}

// standardAccepts reads text with the standard library's strict decoder.
func standardAccepts(text string) error {
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		if _, err := d.Token(); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

// standardRefuses reports whether a document of ours has what the standard
// library refuses and XML 1.0 allows: names of the fifth edition beyond ASCII
// or with several colons, and an encoding declaration other than UTF-8.
func standardRefuses(doc *Document) bool {
	odd := func(name string) bool {
		return strings.Count(name, ":") > 1 || strings.ContainsFunc(name, func(r rune) bool { return r >= utf8.RuneSelf })
	}
	var walk func(nodes []*Node) bool
	walk = func(nodes []*Node) bool {
		for _, n := range nodes {
			if odd(n.Name) || walk(n.Children) || (n.Name == "xml" && strings.Contains(n.Value, "ascii")) {
				return true
			}
			for _, a := range n.Attrs {
				if odd(a.Name) {
					return true
				}
			}
		}
		return false
	}
	return walk(doc.Nodes)
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(published))
	f.Add([]byte(mark8 + "<a b='&#x41;'>\r\n<![CDATA[x]]><?y z?></a>"))
	f.Add(Encoding{Order: binary.BigEndian, Mark: true}.encode("<a b='𝄞'/>"))
	f.Add([]byte("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"))
	f.Add([]byte("<a><b x='1' x=\"2\"></a></b><c/>"))
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, problems := Parse("f", data)
		for _, p := range problems {
			if p.Message == "" || p.File != "f" || (doc != nil && p.Line == 0) {
				t.Errorf("a problem without words or place: %+v", p)
			}
		}
		if problems.HasErrors() {
			return
		}
		if got := doc.Bytes(); string(got) != string(data) {
			t.Errorf("%q printed as %q", data, got)
		}
		if doc.Root == nil || !doc.Whole {
			t.Errorf("%q accepted without a whole tree", data)
		}
		if err := standardAccepts(doc.Text()); err != nil && doc.Encoding.Order == nil && !standardRefuses(doc) {
			t.Errorf("%q accepted, but not by the standard library: %v", data, err)
		}
	})
}
