package schema

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestReference holds that docs/configuration.md tells every section as the
// table has it. With UPDATE=1 in the environment it writes the page.
func TestReference(t *testing.T) {
	t.Parallel()
	const page = "../../../docs/configuration.md"
	want := reference(t)
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("docs/configuration.md is old; run go generate ./internal/config/schema\n%s", diff)
	}
}

const referenceHead = "# Sections of the configuration\n\n" +
	"What may stand in `applicationHost.config` and `web.config`, and what Perch does with it. The page is made of the\n" +
	"tables in `internal/config/schema`.\n\n" +
	"- **obeyed**: read, checked, and done.\n" +
	"- **not done**: known and checked; IIS would obey it, and Perch goes on without it. It is named at the start, once, unless `applicationHost.config` says what holds anyway.\n" +
	"- **not done, restricts**: the same, and access is not restricted by it: what it should keep out gets in.\n" +
	"- **no effect**: accepted in silence, because it means nothing to Perch.\n" +
	"- **refused**: an error, because Perch would run with values that nobody chose.\n\n" +
	"Where nothing is said, what is said of the element or the section around it holds.\n\n" +
	"`add`, `remove` and `clear` are the lines of a list; attributes in *italics* identify an entry. Every element may have\n" +
	"`lockAttributes`, `lockAllAttributesExcept`, `lockElements`, `lockAllElementsExcept` and `lockItem` against the files\n" +
	"below it, and every section `configSource`, the file that holds it.\n\n" +
	"\"Locked\" sections may not be set below an `applicationHost.config` that does not open them with\n" +
	"`<location overrideMode=\"Allow\">` or `overrideModeDefault=\"Allow\"`. Under `perch run DIR` there is no such file, and\n" +
	"nothing is locked.\n"

// reference returns the page: the sections that are looked into, then the
// names of the others.
func reference(t *testing.T) string {
	about := comments(t)
	var b strings.Builder
	b.WriteString(referenceHead)
	names := map[Status][]string{}
	for i := range builtin {
		s := &builtin[i]
		if !s.Described() || s.Status == Ignored {
			name := "`" + s.Path + "`"
			if s.Restricts {
				name += " (restricts access)"
			}
			names[s.Status] = append(names[s.Status], name)
			continue
		}
		fmt.Fprintf(&b, "\n## %s\n\n", s.Path)
		if text := about[s.Path]; text != "" {
			b.WriteString(text + "\n\n")
		}
		if terms := terms(s); terms != "" {
			b.WriteString(terms + "\n\n")
		}
		b.WriteString("| | type | default | values | |\n|---|---|---|---|---|\n")
		rows(&b, "", &s.Element, Done)
	}
	b.WriteString("\n## Known by name\n\nNot done, and their contents are not looked at: " + strings.Join(names[Known], ", ") + ".\n")
	b.WriteString("\n## Without effect\n\nFor .NET or for the application alone: " + strings.Join(names[Ignored], ", ") + ".\n")
	return b.String()
}

// terms says where a section may stand, and what becomes of it.
func terms(s *Section) string {
	var all []string
	switch s.Where {
	case ServerOnly:
		all = append(all, "in `applicationHost.config` alone, for the server as a whole")
	case ToApplication:
		all = append(all, "at the root of an application")
	}
	if s.Deny && s.Where != ServerOnly {
		all = append(all, "locked")
	}
	if s.Silent {
		all = append(all, "checked, and no effect")
	} else if s.Status != Done {
		all = append(all, word(s.Status)+restricting(s.Restricts))
	}
	if len(all) == 0 {
		return ""
	}
	text := strings.Join(all, "; ")
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

func word(s Status) string {
	return [...]string{Done: "obeyed", Known: "not done", Ignored: "no effect", Refused: "refused"}[s]
}

func restricting(yes bool) string {
	if yes {
		return ", restricts"
	}
	return ""
}

// rows writes a row for every attribute in an element, and for every element
// that is more than a place for them. What is in an element that is not obeyed
// is not obeyed either; around is the status of those around e.
func rows(b *strings.Builder, path string, e *Element, around Status) {
	if e.Status != Done {
		around = e.Status
	}
	for i := range e.Attributes {
		a := &e.Attributes[i]
		name := "`" + path + "@" + a.Name + "`"
		if a.Key {
			name = "*" + name + "*"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", name, typeName(a), byDefault(a), values(a), obedience(a, around))
	}
	for i := range e.Elements {
		c := &e.Elements[i]
		if strings.HasSuffix(c.Name, "Defaults") {
			fmt.Fprintf(b, "| `%s%s` | | | %s | %s |\n", path, c.Name, "values for entries that do not set them: "+strings.Join(append(c.AttributeNames(), c.ElementNames()...), ", "), obedience(&Attribute{}, around))
			continue
		}
		if c.Status != Done || !c.Described() {
			fmt.Fprintf(b, "| `%s%s` | | | | %s%s |\n", path, c.Name, word(c.Status), restricting(c.Restricts))
		}
		if c.Status != Ignored {
			rows(b, path+c.Name+"/", c, around)
		}
	}
	if c := e.Collection; c != nil {
		var verbs []string
		for _, v := range []string{c.Remove, c.Clear} {
			if v != "" {
				verbs = append(verbs, "`"+v+"`")
			}
		}
		what := "list"
		switch {
		case c.Prepend:
			what += "; entries go in front of those inherited"
		case c.Replace:
			what += "; entries replace those with their key"
		}
		state := ""
		if c.Entry.Status != Done {
			state = word(c.Entry.Status) + restricting(c.Entry.Restricts)
		}
		fmt.Fprintf(b, "| `%s%s` | %s | | %s | %s |\n", path, c.Add, what, strings.Join(verbs, ", "), state)
		rows(b, path+c.Add+"/", &c.Entry, around)
		for i := range c.Own {
			a := &c.Own[i]
			fmt.Fprintf(b, "| `%s%s name=\"%s\"` | %s | %s | %s | obeyed; Perch's own |\n", path, c.Add, a.Name, typeName(a), byDefault(a), values(a))
		}
	}
}

func typeName(a *Attribute) string {
	name := [...]string{"string", "bool", "int", "uint", "int64", "enum", "flags", "timeSpan"}[typeIndex(a.Type)]
	if a.Required {
		name += ", required"
	}
	return name
}

// typeIndex is the place of a type in a list in this order.
func typeIndex(t Type) int {
	for i, known := range []Type{String, Bool, Int, Uint, Int64, Enum, Flags, TimeSpan} {
		if known == t {
			return i
		}
	}
	panic("a type without a name")
}

func byDefault(a *Attribute) string {
	if a.Default == "" {
		return ""
	}
	return "`" + a.Default + "`"
}

// values says what an attribute may be besides its type.
func values(a *Attribute) string {
	var all []string
	if names := a.names(); len(names) > 0 {
		all = append(all, strings.Join(names, ", "))
	}
	switch r := a.Range; {
	case r == nil:
	case r.Outside:
		all = append(all, fmt.Sprintf("not %d to %d", r.Min, r.Max))
	case a.Type == TimeSpan:
		text := spanOf(r.Min) + " to " + spanOf(r.Max)
		if r.Step > 1 {
			text += " in steps of " + spanOf(r.Step)
		}
		all = append(all, text)
	default:
		all = append(all, fmt.Sprintf("%d to %d", r.Min, r.Max))
	}
	for _, c := range []struct {
		yes  bool
		text string
	}{
		{a.NonEmpty && a.Type == String, "not empty"},
		{a.Expanded, "`%NAME%` is resolved"},
		{a.CaseSensitive && a.Type == String, "case-sensitive"},
		{a.Unique, "unique"},
		{a.Secret, "secret"},
		{a.Form == FieldName, "name of a header field"},
		{a.Form == FieldValue, "without control characters"},
		{a.Form == SiteName, "without / and ?"},
		{a.Form == PoolName, "without \\| < > & \" / [ ] + = ; : , ? \\* @"},
		{a.Form == VirtualPath, "begins with /, without empty and dot segments"},
		{a.Form == Trimmed, "no white space at its ends"},
	} {
		if c.yes {
			all = append(all, c.text)
		}
	}
	return strings.Join(all, "; ")
}

func spanOf(seconds int64) string {
	days, rest := seconds/86400, seconds%86400
	text := fmt.Sprintf("%02d:%02d:%02d", rest/3600, rest/60%60, rest%60)
	if days > 0 {
		text = strconv.FormatInt(days, 10) + "." + text
	}
	return text
}

// obedience says what becomes of an attribute; what is said of the element
// around it is not said again.
func obedience(a *Attribute, around Status) string {
	switch {
	case a.Status == Done && around != Done:
		return ""
	case a.Status == Known && a.Obeyed != "":
		return "obeyed if `" + a.Obeyed + "`; else not done" + restricting(a.Restricts)
	}
	return word(a.Status) + restricting(a.Restricts && a.Status == Known)
}

// comments returns the comments on the variables that describe sections, by
// the path of the section: the reference begins with them.
func comments(t *testing.T) map[string]string {
	t.Helper()
	about := map[string]string{}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			d, ok := decl.(*ast.GenDecl)
			if !ok || d.Doc == nil || len(d.Specs) != 1 {
				continue
			}
			if spec, ok := d.Specs[0].(*ast.ValueSpec); ok && len(spec.Values) == 1 {
				if path := pathOf(spec.Values[0]); path != "" {
					text := strings.Join(strings.Fields(d.Doc.Text()), " ")
					section := path[strings.LastIndexByte(path, '/')+1:]
					text = strings.TrimPrefix(text, spec.Names[0].Name)
					about[path] = strings.NewReplacer("<", `\<`).Replace("`" + section + "`" + text)
				}
			}
		}
	}
	return about
}

// pathOf returns the Path of a Section that is written as a literal.
func pathOf(e ast.Expr) string {
	lit, ok := e.(*ast.CompositeLit)
	if !ok {
		return ""
	}
	for _, elt := range lit.Elts {
		if kv, ok := elt.(*ast.KeyValueExpr); ok {
			key, _ := kv.Key.(*ast.Ident)
			value, _ := kv.Value.(*ast.BasicLit)
			if key != nil && key.Name == "Path" && value != nil {
				path, _ := strconv.Unquote(value.Value)
				return path
			}
		}
	}
	return ""
}
