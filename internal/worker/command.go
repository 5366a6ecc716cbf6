package worker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/perchserver/perch/internal/exchange"
)

// command is what to execute.
type command struct {
	path string
	args []string // without the program's own name

	// config is the *.runtimeconfig.json that belongs to the program, and
	// dotnet the folder of the runtime that runs it; empty when it has none.
	config string
	dotnet string
}

// advisedError is a problem with its ways out, the most likely first.
type advisedError struct {
	error
	advice []string
}

func (e *advisedError) Unwrap() error { return e.error }

// resolver turns processPath and arguments into a command (spec 1.7). Paths
// in the manner of Windows work everywhere.
type resolver struct {
	root   string
	lookup func(name string) (string, bool) // the application's environment
}

// commandLine returns processPath and arguments: the configured ones, or those
// of the launcher that the host's environment names (spec 1.5).
func (s *Settings) commandLine(e *environ) (path, tail string) {
	path, tail = s.ProcessPath, s.Arguments
	if v, _ := e.inherited("ANCM_LAUNCHER_PATH"); v != "" {
		path = v
	}
	if v, _ := e.inherited("ANCM_LAUNCHER_ARGS"); v != "" {
		tail = v
	}
	return path, tail
}

// CheckCommand tells why the application could not be started now: its program
// is not there, cannot be run, or lacks what it runs on. advice is the ways out.
func (s *Settings) CheckCommand() (advice []string, err error) {
	e := newEnviron(s)
	r := resolver{root: s.Root, lookup: e.lookup}
	c, err := r.command(s.commandLine(e))
	if err == nil {
		err = r.foresee(c)
	}
	var advised *advisedError
	if errors.As(err, &advised) {
		advice = advised.advice
	}
	return advice, err
}

// foresee tells what a start would fail by that tries all the same: a system
// may have been taught to run more than it does by itself.
func (r resolver) foresee(c command) error {
	if err := windowsProgram(c.path); err != nil {
		return err
	}
	missing := r.missingFrameworks(c)
	if len(missing) == 0 {
		return nil
	}
	if _, err := os.Stat(filepath.Join(missing[0].Root, "shared")); err != nil {
		return nil // .NET is somewhere else
	}
	var texts []string
	e := &advisedError{}
	for _, m := range missing {
		texts, e.advice = append(texts, m.String()), append(e.advice, m.advice())
	}
	e.error = fmt.Errorf("missing framework %s", strings.Join(texts, ", "))
	return e
}

// Foresee returns what requests are answered with as things are, without
// starting anything: nil unless the application is offline or its program
// cannot be started.
func (s *Settings) Foresee() *exchange.Error {
	if content, present := s.AppOffline(); present {
		return newOffline(content, s.AppOffline).answer()
	}
	if _, err := s.CheckCommand(); err != nil {
		e := s.startFailure(nil)
		e.Err = err
		return e
	}
	return nil
}

// command resolves a program and its arguments.
func (r resolver) command(path, tail string) (command, error) {
	program, err := r.program(path)
	if err != nil {
		return command{}, err
	}
	c := command{path: program, args: splitArguments(tail)}
	for i, arg := range c.args {
		c.args[i] = r.argument(arg)
	}
	return c, r.runtime(&c)
}

// program finds the file to execute.
func (r resolver) program(text string) (string, error) {
	if text == "" {
		return "", errors.New("processPath is empty")
	}
	names := programNames(text)
	if foreignPath(text) {
		if isDotnet(names[0]) {
			return r.findDotnet()
		}
		return "", &advisedError{fmt.Errorf("processPath %q is a path of another system, or names an unknown variable", text),
			[]string{"Give a path relative to the application's folder, or the name of a program that is found on PATH."}}
	}
	var looked []string
	for _, name := range names {
		path := name
		if !filepath.IsAbs(path) {
			path = filepath.Join(r.root, name)
		}
		looked = append(looked, path)
		info, err := os.Stat(path)
		if err == nil && info.IsDir() && bareName(name) {
			continue // a folder does not hide a program on PATH
		}
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) {
			continue
		}
		return path, checkProgram(path, info, err)
	}
	if name := names[len(names)-1]; bareName(name) {
		if isDotnet(name) {
			return r.findDotnet()
		}
		if path := r.search(names); path != "" {
			return path, nil
		}
		looked = append(looked, "PATH")
	}
	return "", &advisedError{fmt.Errorf("processPath %q does not exist; looked for %s", text, strings.Join(looked, ", ")),
		r.missingAdvice(names[len(names)-1])}
}

// checkProgram judges a file that was found.
func checkProgram(path string, info fs.FileInfo, err error) error {
	switch {
	case err != nil:
		return &advisedError{fmt.Errorf("processPath: %w", err),
			[]string{"Let the user that the application runs as read and enter every folder on this path."}}
	case info.IsDir():
		return &advisedError{fmt.Errorf("processPath %s is a folder", path),
			[]string{"Name the program in it."}}
	case !info.Mode().IsRegular():
		return fmt.Errorf("processPath %s is not a file", path)
	case strings.EqualFold(filepath.Ext(path), ".dll"):
		return &advisedError{fmt.Errorf("processPath %s is an assembly, which is no program", path),
			[]string{fmt.Sprintf(`Write processPath="dotnet" arguments=".\%s".`, filepath.Base(path))}}
	case !executable(info):
		if err := windowsProgram(path); err != nil {
			return err
		}
		return &advisedError{fmt.Errorf("processPath %s is not executable", path),
			[]string{"Run: chmod +x " + shellQuote(path)}}
	}
	return nil
}

// missingAdvice looks for what may have been meant.
func (r resolver) missingAdvice(name string) []string {
	var advice []string
	base := filepath.Base(name)
	if entries, err := os.ReadDir(r.root); err == nil {
		for _, e := range entries {
			if e.Name() != base && strings.EqualFold(e.Name(), base) {
				advice = append(advice, fmt.Sprintf("The folder holds %q: upper and lower case differ.", e.Name()))
			}
		}
	}
	for _, dll := range r.applications() {
		advice = append(advice, fmt.Sprintf(`The folder holds the application %s: write processPath="dotnet" arguments=".\%[1]s".`, dll))
	}
	if bareName(name) {
		advice = append(advice, fmt.Sprintf("Install %s, or add its folder to PATH of the host.", base))
	}
	return append(advice, "Correct processPath, or publish the application again.")
}

// applications returns the assemblies of the folder that can be run.
func (r resolver) applications() []string {
	configs, _ := filepath.Glob(filepath.Join(globQuote(r.root), "*.runtimeconfig.json"))
	var dlls []string
	for _, c := range configs {
		dll := strings.TrimSuffix(c, ".runtimeconfig.json") + ".dll"
		if _, err := os.Stat(dll); err == nil {
			dlls = append(dlls, filepath.Base(dll))
		}
	}
	return dlls
}

// search looks for a program on PATH. Relative folders in it do not count:
// whoever may write to the working folder could put a program there.
func (r resolver) search(names []string) string {
	path, _ := r.lookup(pathVariable)
	for _, dir := range filepath.SplitList(path) {
		for _, name := range names {
			file := filepath.Join(dir, name)
			if info, err := os.Stat(file); filepath.IsAbs(dir) && err == nil && info.Mode().IsRegular() && executable(info) {
				return file
			}
		}
	}
	return ""
}

// isDotnet reports whether a program is the .NET host, by its name.
func isDotnet(path string) bool {
	base := strings.ToLower(path[strings.LastIndexAny(path, `/\`)+1:])
	return base == "dotnet" || base == "dotnet.exe"
}

// findDotnet looks for the .NET host on PATH, at DOTNET_ROOT and in the usual
// folders.
func (r resolver) findDotnet() (string, error) {
	names := programNames("dotnet")
	if path := r.search(names); path != "" {
		return path, nil
	}
	folders := r.dotnetFolders()
	for _, dir := range folders {
		for _, name := range names {
			file := filepath.Join(dir, name)
			if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && executable(info) {
				return file, nil
			}
		}
	}
	return "", &advisedError{fmt.Errorf("the .NET host (dotnet) was not found on PATH nor in %s", strings.Join(folders, ", ")),
		[]string{"Install the ASP.NET Core runtime: https://dotnet.microsoft.com/download",
			"If it is installed elsewhere, set DOTNET_ROOT to its folder for the host.",
			"Or publish the application self-contained: dotnet publish --self-contained"}}
}

// dotnetFolders returns the folders in which the .NET host may be.
func (r resolver) dotnetFolders() []string {
	var folders []string
	if root, _ := r.lookup("DOTNET_ROOT"); filepath.IsAbs(root) {
		folders = append(folders, root)
	}
	for _, dir := range usualDotnetFolders {
		if name, rest, ok := strings.Cut(dir, "|"); ok {
			base, _ := r.lookup(name)
			if dir = filepath.Join(base, rest); !filepath.IsAbs(dir) {
				continue
			}
		}
		folders = append(folders, dir)
	}
	return folders
}

// argument turns the back-slashes of an argument that names a file when they
// are turned, with the letter case that the file has. Any other argument stays
// as it is.
func (r resolver) argument(arg string) string {
	if !strings.Contains(arg, `\`) {
		return arg
	}
	turned := r.inAnyCase(filepath.FromSlash(strings.ReplaceAll(arg, `\`, "/")))
	if _, err := os.Stat(r.absolute(turned)); err == nil || strings.EqualFold(filepath.Ext(arg), ".dll") {
		return turned
	}
	return arg
}

// inAnyCase returns a path below the root as the file system has it. One that
// is there as it is written, or not there at all, stays as it is.
func (r resolver) inAnyCase(path string) string {
	if _, err := os.Stat(r.absolute(path)); err == nil || !filepath.IsLocal(path) {
		return path
	}
	found := ""
	for name := range strings.SplitSeq(filepath.Clean(path), string(filepath.Separator)) {
		entries, _ := os.ReadDir(filepath.Join(r.root, found))
		i := slices.IndexFunc(entries, func(e fs.DirEntry) bool { return e.Name() == name })
		if i < 0 {
			i = slices.IndexFunc(entries, func(e fs.DirEntry) bool { return strings.EqualFold(e.Name(), name) })
		}
		if i < 0 {
			return path
		}
		found = filepath.Join(found, entries[i].Name())
	}
	return found
}

func (r resolver) absolute(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(r.root, path)
}

// runtime finds what belongs to a .NET program, and tells an application that
// is missing before the .NET host does so in its own words.
func (r resolver) runtime(c *command) error {
	if !isDotnet(c.path) {
		config := strings.TrimSuffix(c.path, ".exe") + ".runtimeconfig.json"
		if _, err := os.Stat(config); err == nil {
			c.config = config
		}
		return nil
	}
	c.dotnet = filepath.Dir(c.path)
	if real, err := filepath.EvalSymlinks(c.path); err == nil {
		c.dotnet = filepath.Dir(real)
	}
	if len(c.args) == 0 {
		return &advisedError{errors.New("arguments is empty, so dotnet has nothing to run"), r.assemblyAdvice()}
	}
	dll := c.args[0]
	if !strings.EqualFold(filepath.Ext(dll), ".dll") {
		return nil
	}
	path := r.absolute(dll)
	if _, err := os.Stat(path); err != nil {
		return &advisedError{fmt.Errorf("the application cannot be read: %w", err), r.assemblyAdvice()}
	}
	c.config = path[:len(path)-len(".dll")] + ".runtimeconfig.json"
	return nil
}

func (r resolver) assemblyAdvice() []string {
	var advice []string
	for _, dll := range r.applications() {
		advice = append(advice, fmt.Sprintf(`The folder holds %s: write arguments=".\%[1]s".`, dll))
	}
	return append(advice, "Correct arguments, or publish the application again.")
}

// bareName reports whether name has no folder in it.
func bareName(name string) bool { return !strings.ContainsAny(name, `/\`) }

// globQuote makes a path a pattern that matches itself.
func globQuote(path string) string {
	if filepath.Separator == '\\' {
		return path // there is no quoting on Windows, nor are * and ? in names
	}
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// shellQuote makes a path one word for a shell.
func shellQuote(path string) string {
	if !strings.ContainsAny(path, " \t\n'\"\\$&;|<>()*?[]#~`!{}") {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
