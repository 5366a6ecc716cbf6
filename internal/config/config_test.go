package config

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPosString(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pos  Pos
		want string
	}{
		{Pos{}, ""},
		{Pos{File: "web.config"}, "web.config"},
		{Pos{File: "a/web.config", Line: 7, Column: 12}, "a/web.config:7:12"},
	} {
		if got := c.pos.String(); got != c.want {
			t.Errorf("%#v: %q, want %q", c.pos, got, c.want)
		}
	}
}

func TestDetail(t *testing.T) {
	t.Parallel()
	p := Problem{
		Code: UnknownAttribute, Severity: Error, Pos: Pos{"web.config", 12, 14},
		Message: "unknown attribute procesPath", Expected: "processPath", Hint: "did you mean processPath?",
	}
	p.Source, p.Caret = Excerpt("\t<aspNetCore\tprocesPath=\"x\"/>", 14)
	want := "web.config:12:14: error PC013: unknown attribute procesPath\n" +
		"  12 | \t<aspNetCore\tprocesPath=\"x\"/>\n" +
		"     | \t           \t^\n" +
		"  expected: processPath\n" +
		"  hint: did you mean processPath?\n"
	if diff := cmp.Diff(want, p.Detail()); diff != "" {
		t.Error(diff)
	}
}

func TestDetailBehindTheLine(t *testing.T) {
	t.Parallel()
	p := Problem{Code: BadXML, Pos: Pos{"f", 1, 4}, Message: "m"}
	p.Source, p.Caret = Excerpt("<a", 4)
	if want := "f:1:4: error PC003: m\n  1 | <a\n    |    ^\n"; p.Detail() != want {
		t.Errorf("%q, want %q", p.Detail(), want)
	}
}

func TestExcerpt(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 300) + "X" + strings.Repeat("b", 300)
	for _, column := range []int{1, 40, 301, 590, 601, 602} {
		source, caret := Excerpt(long, column)
		shown := []rune(source + "$") // "$" for the place behind the line
		if n := len(shown); n > excerptWidth+3 {
			t.Errorf("column %d: %d characters", column, n)
		}
		if got, want := shown[caret-1], rune((long + "$")[column-1]); got != want {
			t.Errorf("column %d: caret %d is under %q, want %q", column, caret, got, want)
		}
		if cut := strings.HasPrefix(source, "…"); cut != (column > 100) {
			t.Errorf("column %d: cut at the front: %v", column, cut)
		}
	}
	if source, _ := Excerpt("\x1b[31mred\x9b", 1); strings.ContainsAny(source, "\x1b\u009b") {
		t.Errorf("control characters left: %q", source)
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	var ps Problems
	if ps.Err() != nil || ps.HasErrors() || ps.Error() != "no configuration errors" {
		t.Error("an empty list is an error")
	}
	ps.Add(Problem{Code: NotDone, Severity: Warning, Pos: Pos{"b", 1, 1}, Message: "w"})
	if ps.Err() != nil {
		t.Error("a warning is an error")
	}
	ps.Add(Problem{Code: BadXML, Pos: Pos{"b", 2, 10}, Message: "second"})
	ps.Add(Problem{Code: BadXML, Pos: Pos{"b", 2, 9}, Message: "first"})
	ps.Add(Problem{Code: BadXML, Pos: Pos{"a", 9, 1}, Message: "other file"})
	ps.Sort()
	var order []string
	for _, p := range ps {
		order = append(order, p.Message)
	}
	if want := []string{"other file", "w", "first", "second"}; !slices.Equal(order, want) {
		t.Errorf("order %q, want %q", order, want)
	}
	if want := "a:9:1: error PC003: other file (and 2 more errors)"; ps.Error() != want {
		t.Errorf("%q, want %q", ps.Error(), want)
	}
	var target Problems
	if !errors.As(ps.Err(), &target) {
		t.Error("the list is lost behind its error")
	}
	var out strings.Builder
	n, err := ps.WriteTo(&out)
	if err != nil || int(n) != out.Len() || strings.Count(out.String(), "\n\n") != len(ps)-1 {
		t.Errorf("written: %d of %d bytes, %v\n%s", n, out.Len(), err, out.String())
	}
}

func TestProblemsAreLimited(t *testing.T) {
	t.Parallel()
	var ps Problems
	for range 2 * MaxErrors {
		ps.Add(Problem{Code: NotDone, Severity: Warning})
	}
	for range 2 * MaxErrors {
		ps.Add(Problem{Code: BadXML, Severity: Error})
	}
	ps.Add(Problem{Code: NotDone, Severity: Warning, Message: "late"})
	if len(ps) != 3*MaxErrors+1 || !ps.Full() || ps[len(ps)-1].Message != "late" {
		t.Errorf("%d problems, want every warning and %d errors", len(ps), MaxErrors)
	}
}

func TestProblemJSON(t *testing.T) {
	t.Parallel()
	got, err := json.Marshal(Problem{
		Code: NotDone, Severity: Warning, Pos: Pos{"web.config", 3, 5}, Subject: "system.webServer/asp", Message: "m", Source: "s", Caret: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"code":"PC040","severity":"warning","file":"web.config","line":3,"column":5,"subject":"system.webServer/asp","message":"m","source":"s"}`
	if string(got) != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

// Every code is explained, once and in order, and no constant is forgotten.
func TestCodesAreExplained(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "code.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var declared, explained []string
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok {
			for _, v := range spec.Values {
				if lit, ok := v.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					code, err := strconv.Unquote(lit.Value)
					if err != nil {
						t.Error(err)
					}
					declared = append(declared, code)
				}
			}
		}
		return true
	})
	for _, e := range Explanations() {
		explained = append(explained, string(e.Code))
		if e.Title == "" || e.Help == "" || e.Code.Explain() != e {
			t.Errorf("%s is not explained", e.Code)
		}
	}
	if diff := cmp.Diff(declared, explained); diff != "" || !slices.IsSorted(explained) {
		t.Errorf("declared and explained codes differ, or are not in order:\n%s", diff)
	}
	if got := Code("PC999").Explain(); got.Title != "" {
		t.Errorf("an unknown code is explained as %q", got.Title)
	}
}

// TestProblemsPage holds that docs/problems.md tells every code. With UPDATE=1
// in the environment it writes the page.
func TestProblemsPage(t *testing.T) {
	t.Parallel()
	const page = "../../docs/problems.md"
	text := func(s string) string {
		return strings.NewReplacer("<", `\<`, "|", `\|`, "*", `\*`, "_", `\_`).Replace(s)
	}
	var b strings.Builder
	b.WriteString("# Problems of the configuration\n\n" +
		"`perch check`, the log and error pages name every problem with file, line, column and one of these codes. A code never\n" +
		"changes its meaning. An error makes its file unusable; a warning does not.\n\n" +
		"| code | | what happened | what to do |\n|---|---|---|---|\n")
	for _, e := range Explanations() {
		b.WriteString("| " + string(e.Code) + " | " + e.Severity.String() + " | " + text(e.Title) + " | " + text(e.Help) + " |\n")
	}
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(page, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b.String(), string(got)); diff != "" {
		t.Errorf("docs/problems.md is old; run go generate ./internal/config\n%s", diff)
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	names := []string{"processPath", "arguments", "stdoutLogFile", "stdoutLogEnabled", "add", "remove"}
	for word, want := range map[string]string{
		"procesPath":            "processPath",
		"PROCESSPATH":           "processPath",
		"argumnets":             "arguments", // two neighbours swapped are one edit
		"stdoutLogFiles":        "stdoutLogFile",
		"ad":                    "",
		"addd":                  "add",
		"hostingModel":          "",
		"":                      "",
		strings.Repeat("x", 99): "",
	} {
		if got := Nearest(word, names); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
	if d := edits("argumnets", "arguments"); d != 1 {
		t.Errorf("a swap costs %d", d)
	}
}

func TestLog(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		problem Problem
		want    string
	}{
		{Problem{Code: "PC1", Message: "m"}, `level=ERROR msg="error PC1: m"`},
		{Problem{Code: "PC1", Message: "m", Severity: Warning, Hint: "h"}, `level=WARN msg="warning PC1: m" hint=h`},
		{Problem{Code: "PC1", Message: "m", Expected: "e", Hint: "h"}, `level=ERROR msg="error PC1: m" expected=e hint=h`},
	} {
		var log strings.Builder
		c.problem.Log(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}})))
		if got := strings.TrimSpace(log.String()); got != c.want {
			t.Errorf("%+v: %s, want %s", c.problem, got, c.want)
		}
	}
}
