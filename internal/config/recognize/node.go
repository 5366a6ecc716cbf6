package recognize

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// node recognises package.json with a start script. A script that is one
// command of node itself is run as such; any other by npm, which puts the
// programs of the packages within its reach.
func node(f *folder) (App, error) {
	const name = "package.json"
	if !f.files[name] {
		return App{}, errNothing
	}
	var file struct {
		Scripts struct {
			Start     string `json:"start"`
			PreStart  string `json:"prestart"`
			PostStart string `json:"poststart"`
		} `json:"scripts"`
	}
	data, err := f.text(name)
	if err == nil {
		err = json.Unmarshal(data, &file)
	}
	if err != nil {
		return App{}, jsonError(f.path(name), data, err, "mend it")
	}
	s := file.Scripts
	why := "package.json has the start script `" + s.Start + "`"
	if s.Start == "" {
		// What npm does then.
		if !f.files["server.js"] {
			return App{}, errNothing
		}
		s.Start = "node server.js"
		why = "package.json has no start script, and server.js is there"
	}
	app := App{Kind: Node, Section: "httpPlatform", Why: why}
	if c, ok := plain(s.Start); ok && c.words[0] == "node" && len(c.words) > 1 && s.PreStart == "" && s.PostStart == "" {
		app.Environment = c.environment
		app.ProcessPath, app.Arguments = "node", quote(c.words[1:]...)
	} else {
		app.ProcessPath, app.Arguments = "npm", "start"
	}
	return app, nil
}

// jsonError gives an error of a JSON file its place and the way out.
func jsonError(path string, data []byte, err error, hint string) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	offset := int64(-1)
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.As(err, &kind):
		offset = kind.Offset
		err = fmt.Errorf("%s is a %s", kind.Field, kind.Value)
	}
	if offset < 0 {
		return fmt.Errorf("cannot read %s: %w", path, err)
	}
	before := data[:min(max(offset-1, 0), int64(len(data)))]
	line := bytes.Count(before, []byte{'\n'}) + 1
	column := len([]rune(string(before[bytes.LastIndexByte(before, '\n')+1:]))) + 1
	return fmt.Errorf("%s:%d:%d: %w: %s", path, line, column, err, hint)
}
