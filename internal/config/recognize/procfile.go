package recognize

import (
	"fmt"
	"strings"
)

// procfile recognises a Procfile with a web line: the command of the process
// that answers requests, as it would be given to a shell.
func procfile(f *folder) (App, error) {
	if !f.files["Procfile"] {
		return App{}, errNothing
	}
	data, err := f.text("Procfile")
	if err != nil {
		return App{}, fmt.Errorf("cannot read the Procfile: %w", err)
	}
	command, at := "", 0
	number := 0
	for line := range strings.Lines(string(data)) {
		number++
		name, rest, ok := strings.Cut(line, ":")
		if !ok || strings.TrimSpace(name) != "web" {
			continue
		}
		if at != 0 {
			return App{}, fmt.Errorf("%s:%d:1: a second web line, the first is line %d: keep one", f.path("Procfile"), number, at)
		}
		if command, at = strings.TrimSpace(rest), number; command == "" {
			return App{}, fmt.Errorf("%s:%d:%d: the web line has no command: write one, such as `web: ./server`", f.path("Procfile"), number, len(name)+2)
		}
	}
	if at == 0 {
		return App{}, errNothing
	}
	app := App{Kind: Procfile, Section: "httpPlatform", Why: "the Procfile says `web: " + command + "`"}
	app.run(command)
	return app, nil
}

// run fills in the process that runs a shell command, without a shell where
// that is the same.
func (a *App) run(command string) {
	if c, ok := plain(command); ok {
		a.Environment = c.environment
		a.ProcessPath, a.Arguments = c.words[0], quote(c.words[1:]...)
		return
	}
	a.ProcessPath, a.Arguments = shell, quote(shellOption, command)
}
