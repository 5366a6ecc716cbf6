package schema

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perchserver/perch/internal/config"
)

// walk calls f for every element that the table describes.
func walk(table Table, f func(path string, e *Element)) {
	var visit func(path string, e *Element)
	visit = func(path string, e *Element) {
		f(path, e)
		for i := range e.Elements {
			visit(path+"/"+e.Elements[i].Name, &e.Elements[i])
		}
		if e.Collection != nil {
			visit(path+"/"+e.Collection.Add, &e.Collection.Entry)
		}
	}
	for i := range table {
		visit(table[i].Path, &table[i].Element)
	}
}

// The table itself is right: names are unique, and every value that it gives
// is one of its attribute.
func TestBuiltinIsSound(t *testing.T) {
	t.Parallel()
	paths := map[string]bool{}
	for _, s := range Builtin() {
		if paths[s.Path] {
			t.Errorf("%s is described twice", s.Path)
		}
		paths[s.Path] = true
		if Builtin().Group(s.Path) && s.Status != Ignored {
			t.Errorf("%s is a section and a group", s.Path)
		}
	}
	entries := map[*Element]bool{} // an entry that is not looked into still has the keys of <remove>
	walk(Builtin(), func(path string, e *Element) {
		if e.Collection != nil {
			entries[&e.Collection.Entry] = true
		}
		names := slices.Concat(e.AttributeNames(), e.ElementNames())
		slices.Sort(names)
		if len(slices.Compact(slices.Clone(names))) != len(names) || slices.Contains(names, "") {
			t.Errorf("%s: a name is used twice, or missing: %q", path, names)
		}
		if e.Status == Ignored && len(names) > 0 && !entries[e] {
			t.Errorf("%s is described and never looked into", path)
		}
		for i := range e.Attributes {
			checkAttribute(t, path, &e.Attributes[i])
		}
		if c := e.Collection; c != nil {
			if len(c.Keys()) == 0 && c.Remove != "" {
				t.Errorf("%s: what would <%s> remove?", path, c.Remove)
			}
		}
	})
}

// What stands in an element with defaults the entries have as well.
func TestDefaultsFitTheirEntries(t *testing.T) {
	t.Parallel()
	found := 0
	var within func(path string, around []*Element, e *Element)
	within = func(path string, around []*Element, e *Element) {
		around = append(slices.Clip(around), e)
		for i := range e.Elements {
			within(path+"/"+e.Elements[i].Name, around, &e.Elements[i])
		}
		c := e.Collection
		if c == nil {
			return
		}
		for _, outer := range around {
			d := outer.Element(c.Defaults)
			if c.Defaults == "" || d == nil {
				continue
			}
			found++
			for _, name := range append(d.AttributeNames(), d.ElementNames()...) {
				if c.Entry.Attribute(name) == nil && c.Entry.Element(name) == nil {
					t.Errorf("%s: %s has %s, which its entries do not have", path, c.Defaults, name)
				}
			}
		}
		within(path+"/"+c.Add, around, &c.Entry)
	}
	for i := range Builtin() {
		within(Builtin()[i].Path, nil, &Builtin()[i].Element)
	}
	if found < 7 { // of sites, and of applications and virtual directories on two and three levels, of pools
		t.Errorf("%d elements with defaults", found)
	}
}

func checkAttribute(t *testing.T, path string, a *Attribute) {
	t.Helper()
	where := path + "/@" + a.Name
	if a.Default != "" || a.Type == Bool || a.Type == TimeSpan {
		v, problem := a.Parse(a.Default)
		if problem != nil || v.Text != a.Default {
			t.Errorf("%s: default %q is %q, %v", where, a.Default, v.Text, problem)
		}
		if got := a.DefaultValue(); got != v {
			t.Errorf("%s: default value %+v, want %+v", where, got, v)
		}
	}
	if a.Obeyed != "" {
		if _, problem := a.Parse(a.Obeyed); problem != nil || a.Status != Known {
			t.Errorf("%s: obeyed value %q: %v", where, a.Obeyed, problem)
		}
	}
	if a.Expanded && a.Type != String {
		t.Errorf("%s: only strings are expanded", where)
	}
	if named := len(a.Names) > 0; named != (a.Type == Enum || a.Type == Flags) {
		t.Errorf("%s: has names: %v", where, named)
	}
}

// The defaults and ranges of the module, as its specification has them.
func TestAspNetCore(t *testing.T) {
	t.Parallel()
	s := Builtin().Section("system.webServer/aspNetCore")
	for name, c := range map[string]struct {
		byDefault  string
		good, bad  []string
		isRequired bool
	}{
		"processPath":             {good: []string{"dotnet", ".\\app.exe"}, bad: []string{""}, isRequired: true},
		"arguments":               {good: []string{"", "x"}},
		"startupTimeLimit":        {byDefault: "120", good: []string{"0", "3600"}, bad: []string{"-1", "3601", "1s", "", "0x10", " 1"}},
		"shutdownTimeLimit":       {byDefault: "10", good: []string{"0", "600"}, bad: []string{"601"}},
		"rapidFailsPerMinute":     {byDefault: "10", good: []string{"0", "100"}, bad: []string{"101"}},
		"requestTimeout":          {byDefault: "00:02:00", good: []string{"00:00:00", "360:00:00", "15.00:00:00"}, bad: []string{"360:00:01", "00:00:60", "00:60:00", "00:00:00.5", "120"}},
		"stdoutLogEnabled":        {byDefault: "false", good: []string{"TRUE", "False"}, bad: []string{"1", "", "yes"}},
		"stdoutLogFile":           {byDefault: `.\aspnetcore-stdout`},
		"processesPerApplication": {byDefault: "1", good: []string{"1", "100"}, bad: []string{"0", "101"}},
		"forwardWindowsAuthToken": {byDefault: "true"},
		"disableStartUpErrorPage": {byDefault: "false"},
		"hostingModel":            {byDefault: "outofprocess", good: []string{"InProcess", "OutOfProcess", ""}, bad: []string{"inproc", " inprocess"}},
	} {
		a := s.Attribute(name)
		if a == nil {
			t.Errorf("%s is missing", name)
			continue
		}
		if a.DefaultValue().Text != c.byDefault || a.Required != c.isRequired {
			t.Errorf("%s: default %q, required %v", name, a.DefaultValue().Text, a.Required)
		}
		for _, text := range c.good {
			if _, problem := a.Parse(text); problem != nil {
				t.Errorf("%s: %q is refused: %v", name, text, problem)
			}
		}
		for _, text := range c.bad {
			if v, problem := a.Parse(text); problem == nil {
				t.Errorf("%s: %q is taken as %+v", name, text, v)
			}
		}
	}
	if n := len(s.Attributes); n != 12 {
		t.Errorf("%d attributes, want 12", n)
	}
	if s.Attribute("startupRetryCount") != nil {
		t.Error("aspNetCore has no startupRetryCount")
	}
	if diff := cmp.Diff([]string{"environmentVariables", "handlerSettings", "recycleOnFileChange"}, s.ElementNames()); diff != "" {
		t.Error(diff)
	}
}

func TestTimeSpan(t *testing.T) {
	t.Parallel()
	a := &Attribute{Name: "a", Type: TimeSpan}
	for text, want := range map[string]time.Duration{
		"00:00:00":         0,
		"0:0:1":            time.Second,
		"00:02:00":         2 * time.Minute,
		"29:00:00":         29 * time.Hour,
		"1.00:00:00":       24 * time.Hour,
		"1.23:59:59":       48*time.Hour - time.Second,
		"00:00:00.5":       500 * time.Millisecond,
		"00:00:00.0000001": 100 * time.Nanosecond,
		"99999.23:59:59":   100_000*24*time.Hour - time.Second,
	} {
		v, problem := a.Parse(text)
		if problem != nil || v.Duration() != want || v.Text != text {
			t.Errorf("%s: %v, %v, want %v", text, v.Duration(), problem, want)
		}
	}
	for _, text := range []string{
		"", "1", "00:00", "00:00:60", "00:60:00", "1.24:00:00", "-00:00:01", "00:00:-1", "+1:00:00", "00:00:00.", ".00:00:00",
		"00:00:00.00000001", "1.2.00:00:00", "00:00:00:00", " 00:00:00", "00:00:1e1", "100000.00:00:00", "1000000:00:00", "::", "a:b:c", "٣:00:00",
	} {
		if v, problem := a.Parse(text); problem == nil {
			t.Errorf("%q is taken as %v", text, v.Duration())
		} else if problem.Code != config.WrongType || problem.Expected == "" {
			t.Errorf("%q: %+v", text, problem)
		}
	}
}

func FuzzTimeSpan(f *testing.F) {
	for _, text := range []string{"00:02:00", "1.00:00:00", "29:00:00", "00:00:00.1234567", "99999.23:59:59"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		span, ok := timeSpan(text)
		if !ok {
			return
		}
		if span < 0 {
			t.Errorf("%q is negative: %v", text, span)
		}
		if whole := span.Truncate(time.Second); whole == span {
			if again, ok := timeSpan(formatTimeSpan(span)); !ok || again != span {
				t.Errorf("%q is %v and printed as %s", text, span, formatTimeSpan(span))
			}
		}
	})
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		attribute Attribute
		text      string
		want      int64
		code      config.Code
	}{
		{Attribute{Type: Uint}, "4294967295", 4294967295, ""},
		{Attribute{Type: Uint}, "4294967296", 0, config.OutOfRange},
		{Attribute{Type: Uint}, "0010", 10, ""},
		{Attribute{Type: Uint}, "1.5", 0, config.WrongType},
		{Attribute{Type: Uint}, "-1", 0, config.OutOfRange},
		{Attribute{Type: Int}, "-2147483648", -2147483648, ""},
		{Attribute{Type: Int}, "2147483648", 0, config.OutOfRange},
		{Attribute{Type: Int}, "--1", 0, config.WrongType},
		{Attribute{Type: Int}, "-", 0, config.WrongType},
		{Attribute{Type: Int, Range: &Range{Min: -1, Max: 999}}, "-1", -1, ""},
		{Attribute{Type: Uint}, "99999999999999999999", 0, config.OutOfRange},
		{Attribute{Type: Int64}, "-9223372036854775808", math.MinInt64, ""},
		{Attribute{Type: Int64}, "9223372036854775808", 0, config.OutOfRange},
		{Attribute{Type: Uint, Range: &Range{Min: 300, Max: 307, Outside: true}}, "299", 299, ""},
		{Attribute{Type: Uint, Range: &Range{Min: 300, Max: 307, Outside: true}}, "300", 0, config.OutOfRange},
		{Attribute{Type: Uint, Range: &Range{Min: 300, Max: 307, Outside: true}}, "308", 308, ""},
	} {
		v, problem := c.attribute.Parse(c.text)
		if problem == nil {
			problem = &config.Problem{}
		}
		if v.Number != c.want || problem.Code != c.code {
			t.Errorf("%s: %d %q, want %d %q", c.text, v.Number, problem.Code, c.want, c.code)
		}
	}
}

func TestForms(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		form      Form
		good, bad []string
	}{
		{AnyText, []string{"", " a ", "/"}, nil},
		{Trimmed, []string{"", "a b"}, []string{" a", "a ", "\ta"}},
		{SiteName, []string{"Default Web Site", "a.b*"}, []string{"a/b", "a?"}},
		{PoolName, []string{"", "a b.c-d_e"}, strings.Split("a| a< a> a& a\" a/ a[ a] a+ a= a; a: a, a? a* a@", " ")},
		{VirtualPath, []string{"/", "/a", "/a/b.c", "/...", "/.a"}, []string{"", "a", "/a/", "//", "/.", "/..", "/a/../b", "/a/.", "//a", "/a//b", `/a\b`}},
		{FieldName, []string{"X-A", "x_a.b!#$%&'*+^`|~1"}, []string{"", "Bad Name", "a:", "a\r\nb", "ä", "a(b)", "a\"", "a/b"}},
		{FieldValue, []string{"", "a, b; c=\"d\"", "a\tb", "ä"}, []string{"a\r\nEvil: b", "a\x00", "\x7f"}},
	} {
		a := &Attribute{Name: "a", Form: c.form}
		for _, text := range c.good {
			if _, problem := a.Parse(text); problem != nil {
				t.Errorf("form %d: %q is refused: %v", c.form, text, problem)
			}
		}
		for _, text := range c.bad {
			if _, problem := a.Parse(text); problem == nil || problem.Code != config.WrongType || problem.Expected == "" {
				t.Errorf("form %d: %q is taken: %+v", c.form, text, problem)
			}
		}
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	policy := Builtin().Section("system.webServer/handlers").Attribute("accessPolicy")
	for text, want := range map[string]Value{
		"Read":           {"Read", 1},
		"script,  read":  {"Read, Script", 513},
		"513":            {"Read, Script", 513},
		"None":           {"None", 0},
		"0":              {"None", 0},
		"Read,Read,None": {"Read", 1},
	} {
		if v, problem := policy.Parse(text); problem != nil || v != want {
			t.Errorf("%s: %+v, %v, want %+v", text, v, problem, want)
		}
	}
	for _, text := range []string{"", "Read,", "Reed", "8", "-1", "Read Script"} {
		if v, problem := policy.Parse(text); problem == nil {
			t.Errorf("%q is taken as %+v", text, v)
		}
	}
	model := Builtin().Section("system.webServer/aspNetCore").Attribute("hostingModel")
	_, problem := model.Parse("inproces")
	if problem == nil || problem.Expected != "outofprocess, inprocess" || problem.Hint != "did you mean inprocess?" {
		t.Errorf("%+v", problem)
	}
	if v, problem := model.Parse("1"); problem == nil {
		t.Errorf("an enum is not a number: %+v", v)
	}
}

func TestUnobeyed(t *testing.T) {
	t.Parallel()
	known := Attribute{Type: Bool, Status: Known}
	obeyed := Attribute{Type: Bool, Status: Known, Obeyed: "false"}
	done := Attribute{Type: Bool}
	yes, no := Value{"true", 1}, Value{"false", 0}
	for name, c := range map[string]struct{ got, want bool }{
		"known":            {known.Unobeyed(no), true},
		"obeyed value":     {obeyed.Unobeyed(no), false},
		"not obeyed value": {obeyed.Unobeyed(yes), true},
		"done":             {done.Unobeyed(yes), false},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v", name, c.got)
		}
	}
}

func TestComparable(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		attribute Attribute
		x, y      string
		equal     bool
	}{
		"string":                {Attribute{}, ".Json", ".json", true},
		"case-sensitive string": {Attribute{CaseSensitive: true}, "A", "a", false},
		"number":                {Attribute{Type: Uint}, "010", "10", true},
		"time span":             {Attribute{Type: TimeSpan}, "24:00:00", "1.00:00:00", true},
		"bool":                  {Attribute{Type: Bool}, "True", "false", false},
	} {
		x, _ := c.attribute.Parse(c.x)
		y, _ := c.attribute.Parse(c.y)
		if equal := c.attribute.Comparable(x) == c.attribute.Comparable(y); equal != c.equal {
			t.Errorf("%s: %q and %q are equal: %v", name, c.x, c.y, equal)
		}
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	table := Table{{Path: "g/a"}, {Path: "g/h/b"}, {Path: "c"}, {Path: "gg"}}
	if table.Section("g/h/b").Name() != "b" || table.Section("c").Name() != "c" || table.Section("b") != nil {
		t.Error("sections are not found by their path")
	}
	for path, want := range map[string]bool{"g": true, "g/h": true, "c": false, "g/a": false, "gg": false, "": false, "x": false} {
		if table.Group(path) != want {
			t.Errorf("%q is a group: %v", path, !want)
		}
	}
	if diff := cmp.Diff([]string{"g", "c", "gg"}, table.Members("")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"a", "h"}, table.Members("g")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"g/h"}, table.Homes("b")); diff != "" {
		t.Error(diff)
	}
	ignoring := Table{{Path: "i", Element: Element{Status: Ignored}}, {Path: "i/a"}}
	for path, want := range map[string]bool{"i": true, "i/b": true, "i/b/c": true, "i/a": false, "i/a/b": false, "ii": false, "": false} {
		if ignoring.Ignores(path) != want {
			t.Errorf("%q is ignored: %v", path, !want)
		}
	}
}

// What keeps somebody out and is not done says that it does not: each of these
// is read and obeyed, or reported as what restricts access.
func TestRestrictions(t *testing.T) {
	t.Parallel()
	var reported []string
	walk(Builtin(), func(path string, e *Element) {
		if e.Status == Known && e.Restricts {
			reported = append(reported, path)
		}
		for i := range e.Attributes {
			if a := &e.Attributes[i]; a.Status == Known && a.Restricts {
				reported = append(reported, path+"/@"+a.Name)
			}
		}
	})
	const security = "system.webServer/security/"
	for _, path := range []string{
		security + "access/@sslFlags",
		security + "authentication/anonymousAuthentication/@enabled",
		security + "authentication/basicAuthentication/@enabled",
		security + "authentication/clientCertificateMappingAuthentication/@enabled",
		security + "authentication/digestAuthentication/@enabled",
		security + "authentication/iisClientCertificateMappingAuthentication/@enabled",
		security + "authentication/windowsAuthentication/@enabled",
		security + "authorization/add/@accessType",
		security + "authorization/add/@users",
		security + "authorization/add/@roles",
		security + "authorization/add/@verbs",
		security + "dynamicIpSecurity/denyByConcurrentRequests/@enabled",
		security + "dynamicIpSecurity/denyByRequestRate/@enabled",
		security + "ipSecurity/@allowUnlisted",
		security + "ipSecurity/add",
		security + "requestFiltering/@allowDoubleEscaping",
		security + "requestFiltering/@allowHighBitCharacters",
		security + "requestFiltering/@unescapeQueryString",
		security + "requestFiltering/denyQueryStringSequences/add",
		security + "requestFiltering/denyUrlSequences/add",
		security + "requestFiltering/fileExtensions/@allowUnlisted",
		security + "requestFiltering/fileExtensions/add/@allowed",
		security + "requestFiltering/filteringRules/filteringRule",
		security + "requestFiltering/hiddenSegments/add",
		security + "requestFiltering/requestLimits/@maxQueryString",
		security + "requestFiltering/requestLimits/@maxUrl",
		security + "requestFiltering/requestLimits/headerLimits/add",
		security + "requestFiltering/verbs/@allowUnlisted",
		security + "requestFiltering/verbs/add/@allowed",
		"system.applicationHost/applicationPools/add/@autoStart",
		"system.applicationHost/sites/site/limits/@maxUrlSegments",
		"system.web/authorization",
		"system.webServer/cors",
		"system.webServer/handlers/@accessPolicy",
		"system.webServer/rewrite/globalRules",
		"system.webServer/rewrite/rules",
		"system.webServer/serverRuntime/@maxRequestEntityAllowed",
		"system.webServer/webdav/authoringRules",
	} {
		if !slices.Contains(reported, path) && !obeyed(path) {
			t.Errorf("%s would be passed over in silence", path)
		}
	}
}

// obeyed reports whether a part of the table is there and Done, so that what
// it says is obeyed.
func obeyed(path string) bool {
	found := false
	walk(Builtin(), func(at string, e *Element) {
		element, attribute, _ := strings.Cut(path, "/@")
		if at != element || e.Status != Done {
			return
		}
		a := e.Attribute(attribute)
		found = attribute == "" || (a != nil && a.Status == Done)
	})
	return found
}

func TestCommon(t *testing.T) {
	t.Parallel()
	if Common("lockItem", false) == nil || Common("configSource", true) == nil {
		t.Error("a common attribute is missing")
	}
	if Common("configSource", false) != nil || Common("name", true) != nil {
		t.Error("an attribute is common that is not")
	}
}
