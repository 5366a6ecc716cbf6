package perch_test

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// maxLines is how long a source file may be: longer ones are split by stage.
const maxLines = 600

// maxWidth is how many characters a line of documentation may have.
const maxWidth = 120

// folder is the Go source of one directory, whatever system a file is for.
type folder struct {
	Dir   string
	Set   *token.FileSet
	Files []*ast.File // tests left out
}

// checkPackageComment wants exactly one package comment.
func checkPackageComment(f folder) []string {
	var with []string
	for _, file := range f.Files {
		if file.Doc != nil {
			with = append(with, filepath.Base(f.Set.Position(file.Package).Filename))
		}
	}
	switch {
	case len(f.Files) == 0 || len(with) == 1:
		return nil
	case len(with) == 0:
		return []string{f.Dir + " has no package comment: say what it is for, its place on the road, who may import it"}
	}
	return []string{fmt.Sprintf("%s has %d package comments, in %s: one file has the say", f.Dir, len(with), strings.Join(with, ", "))}
}

// checkInit refuses init functions: importing a package does nothing.
func checkInit(f folder) []string {
	var bad []string
	for _, file := range f.Files {
		for _, d := range file.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				bad = append(bad, fmt.Sprintf("%s: init function: importing a package must do nothing", f.Set.Position(fn.Pos())))
			}
		}
	}
	return bad
}

// checkLines refuses files beyond maxLines.
func checkLines(name string, content []byte) []string {
	if n := strings.Count(string(content), "\n"); n > maxLines {
		return []string{fmt.Sprintf("%s has %d lines, the limit is %d: split it by stage", name, n, maxLines)}
	}
	return nil
}

// checkWidth refuses lines of a page that are too long to read, but for tables
// and examples, which cannot be wrapped.
func checkWidth(name string, content []byte) (bad []string) {
	n := 0
	for line := range strings.Lines(string(content)) {
		n++
		wraps := !strings.HasPrefix(line, "|") && !strings.HasPrefix(line, "    ")
		if width := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); wraps && width > maxWidth {
			bad = append(bad, fmt.Sprintf("%s:%d has %d characters, the limit is %d", name, n, width, maxWidth))
		}
	}
	return bad
}

// checkState refuses package-level variables that are ever changed: assigned,
// incremented, handed out by address, or made of locks, atomics and channels.
// Constant tables are fine.
//
// It sees what the text shows. A slice or map that is passed on and changed
// elsewhere escapes it, as does a pointer that a constructor returned.
func checkState(f folder) []string {
	s := &stateCheck{folder: f, vars: map[types.Object]*ast.CompositeLit{}, specs: map[types.Object]*ast.TypeSpec{}}
	s.info = types.Info{
		Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{},
		Selections: map[*ast.SelectorExpr]*types.Selection{},
	}
	// Files of several systems are looked at together and imports are not
	// followed, so there are errors; what is asked for survives them.
	conf := types.Config{Importer: emptyImporter{}, Error: func(error) {}}
	conf.Check(f.Dir, f.Set, f.Files, &s.info)

	for _, file := range f.Files {
		for _, d := range file.Decls {
			if g, ok := d.(*ast.GenDecl); ok {
				s.declare(g)
			}
		}
	}
	for _, file := range f.Files {
		ast.Inspect(file, s.visit)
	}
	slices.Sort(s.bad)
	return slices.Compact(s.bad)
}

// emptyImporter gives every import an empty package.
type emptyImporter struct{}

var _ types.Importer = emptyImporter{}

func (emptyImporter) Import(path string) (*types.Package, error) {
	if path == "unsafe" {
		return importer.Default().Import(path)
	}
	p := types.NewPackage(path, path[strings.LastIndex(path, "/")+1:])
	p.MarkComplete()
	return p, nil
}

type stateCheck struct {
	folder
	info  types.Info
	vars  map[types.Object]*ast.CompositeLit // with the literal it is declared with, nil without
	specs map[types.Object]*ast.TypeSpec
	bad   []string
}

func (s *stateCheck) complain(at ast.Node, name, what string) {
	s.bad = append(s.bad, fmt.Sprintf("%s: package-level variable %s %s: state has an owner and is passed", s.Set.Position(at.Pos()), name, what))
}

// declare notes the variables and types of a package-level declaration. Types
// may come after their use, so a variable's type is judged by name later.
func (s *stateCheck) declare(g *ast.GenDecl) {
	for _, spec := range g.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			if obj := s.info.Defs[spec.Name]; obj != nil {
				s.specs[obj] = spec
			}
		case *ast.ValueSpec:
			if g.Tok != token.VAR {
				continue
			}
			for i, name := range spec.Names {
				if obj := s.info.Defs[name]; obj != nil && name.Name != "_" {
					s.vars[obj] = nil
					if len(spec.Values) == len(spec.Names) {
						s.vars[obj], _ = spec.Values[i].(*ast.CompositeLit)
					}
				}
			}
		}
	}
}

// visit looks at one node for a change of a package-level variable.
func (s *stateCheck) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.GenDecl:
		s.declared(n)
	case *ast.AssignStmt:
		for _, l := range n.Lhs {
			s.changed(l, "is assigned")
		}
	case *ast.IncDecStmt:
		s.changed(n.X, "is incremented")
	case *ast.RangeStmt:
		if n.Tok == token.ASSIGN {
			s.changed(n.Key, "is assigned")
			s.changed(n.Value, "is assigned")
		}
	case *ast.UnaryExpr:
		if n.Op == token.AND && !s.table(n.X) {
			s.changed(n.X, "has its address taken")
		}
	case *ast.CallExpr:
		if id, ok := n.Fun.(*ast.Ident); ok && len(n.Args) > 0 && (id.Name == "delete" || id.Name == "clear") {
			s.changed(n.Args[0], "is emptied")
		}
	case *ast.SelectorExpr:
		s.method(n)
	}
	return true
}

// method finds calls that take the address of a variable in passing.
func (s *stateCheck) method(n *ast.SelectorExpr) {
	sel := s.info.Selections[n]
	if sel == nil || sel.Kind() == types.FieldVal {
		return
	}
	fn, ok := sel.Obj().(*types.Func)
	if !ok {
		return
	}
	_, wants := fn.Signature().Recv().Type().(*types.Pointer)
	_, has := sel.Recv().Underlying().(*types.Pointer)
	if wants && !has {
		s.changed(n.X, "has its address taken by "+n.Sel.Name)
	}
}

// table reports whether an expression is a constant table, or an element of
// one: what was declared with all its content is read through pointers, too.
// Of a number, or of a slice or a map as a whole, only who wants to change it
// needs the address.
func (s *stateCheck) table(e ast.Expr) bool {
	i, element := e.(*ast.IndexExpr)
	if element {
		e = i.X
	}
	id, ok := e.(*ast.Ident)
	if !ok {
		return false
	}
	literal := s.vars[s.info.Uses[id]]
	if literal == nil || element {
		return literal != nil
	}
	switch kind := literal.Type.(type) {
	case *ast.MapType:
		return false
	case *ast.ArrayType:
		return kind.Len != nil
	}
	return true
}

// changed complains if the expression is a package-level variable or a part of
// one.
func (s *stateCheck) changed(e ast.Expr, what string) {
	for {
		switch x := e.(type) {
		case *ast.ParenExpr:
			e = x.X
		case *ast.SelectorExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.Ident:
			if _, ok := s.vars[s.info.Uses[x]]; ok {
				s.complain(x, x.Name, what)
			}
			return
		default:
			return
		}
	}
}

// declared complains about package-level variables whose kind says that they
// change.
func (s *stateCheck) declared(g *ast.GenDecl) {
	if g.Tok != token.VAR {
		return
	}
	for _, spec := range g.Specs {
		spec := spec.(*ast.ValueSpec)
		if _, ok := s.vars[s.info.Defs[spec.Names[0]]]; !ok {
			continue // blank, or local to a function
		}
		name := spec.Names[0].Name
		if spec.Type != nil {
			s.kind(spec, name, spec.Type, 0)
		}
		for _, v := range spec.Values {
			s.kind(spec, name, v, 0)
		}
	}
}

// kind looks for locks, atomics and channels in a type or a value, and in the
// types of this package that it names.
func (s *stateCheck) kind(at ast.Node, name string, e ast.Node, depth int) {
	ast.Inspect(e, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit, *ast.FuncType:
			return false // what a function does inside is its own
		case *ast.ChanType:
			s.complain(at, name, "holds a channel")
		case *ast.SelectorExpr:
			if p, ok := n.X.(*ast.Ident); ok && (p.Name == "sync" || p.Name == "atomic") {
				s.complain(at, name, "holds "+p.Name+"."+n.Sel.Name)
			}
		case *ast.CallExpr:
			if id, ok := n.Fun.(*ast.Ident); ok && id.Name == "make" {
				if _, ok := n.Args[0].(*ast.MapType); ok {
					s.complain(at, name, "is a map that is filled later")
				}
			}
		case *ast.Ident:
			if spec := s.specs[s.info.Uses[n]]; spec != nil && depth < 4 {
				s.kind(at, name, spec.Type, depth+1)
			}
		}
		return true
	})
}

func TestSource(t *testing.T) {
	t.Parallel()
	folders, files := source(t)
	for _, f := range folders {
		report(t, checkPackageComment(f))
		report(t, checkInit(f))
		report(t, checkState(f))
	}
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		report(t, checkLines(name, content))
	}
	for _, name := range append(pages(t), "README.md", "CONTRIBUTING.md") {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		report(t, checkWidth(name, content))
	}
}

// pages names those of docs that are written by hand.
func pages(t *testing.T) []string {
	t.Helper()
	all, err := filepath.Glob("docs/*.md")
	if err != nil || len(all) < 5 {
		t.Fatalf("found the pages %q, %v", all, err)
	}
	return slices.DeleteFunc(all, func(name string) bool {
		return name == filepath.Join("docs", "configuration.md") || name == filepath.Join("docs", "problems.md")
	})
}

func TestSourceRulesCanFail(t *testing.T) {
	t.Parallel()
	parse := func(texts ...string) folder {
		f := folder{Dir: "example", Set: token.NewFileSet()}
		for i, text := range texts {
			file, err := parser.ParseFile(f.Set, fmt.Sprintf("%c.go", 'a'+i), text, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			f.Files = append(f.Files, file)
		}
		return f
	}
	const head = "package p\n\nimport (\n\"sync\"\n\"sync/atomic\"\n)\n\n"
	for _, c := range []struct {
		rule  func(folder) []string
		files []string
		want  string // part of the only complaint, "" for none
	}{
		{checkPackageComment, []string{"package p"}, "no package comment"},
		{checkPackageComment, []string{"// Package p is.\npackage p", "// Package p was.\npackage p"}, "2 package comments, in a.go, b.go"},
		{checkPackageComment, []string{"// Package p is.\npackage p", "package p"}, ""},
		{checkPackageComment, []string{"//go:build linux\n\npackage p", "// Package p is.\npackage p"}, ""},
		{checkInit, []string{"package p\nfunc init() {}"}, "a.go:2:1: init function"},
		{checkInit, []string{"package p\ntype t int\nfunc (t) init() {}"}, ""},
		{checkState, []string{head + "var n int\nfunc f() { n = 1 }"}, "n is assigned"},
		{checkState, []string{head + "var n int\nfunc f() { n++ }"}, "n is incremented"},
		{checkState, []string{head + "var n int", "package p\nfunc f() { n = 2 }"}, "b.go:2:12: package-level variable n is assigned"},
		{checkState, []string{head + "var n struct{ a [2]int }\nfunc f() { n.a[1] = 1 }"}, "n is assigned"},
		{checkState, []string{head + "var n int\nfunc f() *int { return &n }"}, "n has its address taken"},
		{checkState, []string{head + "type t int\nfunc (*t) set() {}\nvar n t\nfunc f() { n.set() }"}, "n has its address taken by set"},
		{checkState, []string{head + "var m = map[string]int{}\nfunc f() { m[\"a\"] = 1 }"}, "m is assigned"},
		{checkState, []string{head + "var m = map[string]int{}\nfunc f() { delete(m, \"a\") }"}, "m is emptied"},
		{checkState, []string{head + "var m = make(map[string]int)"}, "m is a map that is filled later"},
		{checkState, []string{head + "var mu sync.Mutex"}, "mu holds sync.Mutex"},
		{checkState, []string{head + "var p = sync.Pool{New: func() any { return 1 }}"}, "p holds sync.Pool"},
		{checkState, []string{head + "var n atomic.Int64"}, "n holds atomic.Int64"},
		{checkState, []string{head + "var s state\ntype state struct { n atomic.Int64 }"}, "s holds atomic.Int64"},
		{checkState, []string{head + "var c = make(chan int)"}, "c holds a channel"},
		{checkState, []string{head + "var table = [...]int{1, 2}\nfunc f() int { n := table[0]; n++; return n }"}, ""},
		{checkState, []string{head + "var n int\nfunc f() { n := 1; n = 2; _ = n }"}, ""},
		{checkState, []string{head + "var name = map[int]string{1: \"a\"}\nfunc f() { name := name; _ = name }"}, ""},
		{checkState, []string{head + "type t struct{ n int }\nvar _ = &t{}\nvar all = []*t{{1}}"}, ""},
		{checkState, []string{head + "var one = t{1}\ntype t struct{ n int }\nfunc f() *t { return &one }"}, ""},
		{checkState, []string{head + "type t struct{ n int }\nvar all = []t{{1}}\nfunc f() *t { return &all[0] }"}, ""},
		{checkState, []string{head + "var all []int\nfunc f() *[]int { return &all }"}, "all has its address taken"},
		{checkState, []string{head + "func f() { var mu sync.Mutex; mu.Lock() }"}, ""},
	} {
		got := c.rule(parse(c.files...))
		if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)) {
			t.Errorf("%q: got %q, want one complaint with %q", strings.TrimPrefix(c.files[0], head), got, c.want)
		}
	}
	if got := checkLines("a.go", []byte(strings.Repeat("\n", maxLines+1))); len(got) != 1 {
		t.Errorf("a file of %d lines: %q, want one complaint", maxLines+1, got)
	}
	if got := checkLines("a.go", []byte(strings.Repeat("\n", maxLines))); len(got) != 0 {
		t.Errorf("a file of %d lines: %q, want none", maxLines, got)
	}
	long := strings.Repeat("ä", maxWidth)
	if got := checkWidth("a.md", []byte(long+"\n| "+long+"\n    "+long+"\n"+long+"a\n")); len(got) != 1 || !strings.HasPrefix(got[0], "a.md:4 ") {
		t.Errorf("lines of %d characters: %q, want one complaint about the last", maxWidth, got)
	}
}

// source parses every folder of the repository that holds Go files and names
// all of these, tests included.
func source(t *testing.T) (folders []folder, files []string) {
	t.Helper()
	byDir := map[string]*folder{}
	var dirs []string
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules"):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go"):
			return nil
		}
		files = append(files, name)
		if strings.HasSuffix(name, "_test.go") {
			return nil
		}
		dir := filepath.Dir(name)
		f := byDir[dir]
		if f == nil {
			f = &folder{Dir: dir, Set: token.NewFileSet()}
			byDir[dir] = f
			dirs = append(dirs, dir)
		}
		file, err := parser.ParseFile(f.Set, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		f.Files = append(f.Files, file)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(dirs) < 3 {
		t.Fatalf("found Go files in %v only", dirs)
	}
	for _, dir := range dirs {
		folders = append(folders, *byDir[dir])
	}
	return folders, files
}
