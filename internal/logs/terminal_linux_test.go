package logs

import (
	"os"
	"testing"
)

func TestTerminal(t *testing.T) {
	t.Parallel()
	f, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, c := range []struct {
		env   map[string]string
		color bool
	}{
		{nil, true},
		{map[string]string{"TERM": "xterm-256color"}, true},
		{map[string]string{"NO_COLOR": "1"}, false},
		{map[string]string{"NO_COLOR": ""}, true}, // no-color.org: when it is not empty
		{map[string]string{"TERM": "dumb"}, false},
	} {
		getenv := func(name string) string { return c.env[name] }
		if !Terminal(f) || Color(f, getenv) != c.color {
			t.Errorf("%v: terminal %v, colour %v, want %v", c.env, Terminal(f), Color(f, getenv), c.color)
		}
		if h, ok := For(f, getenv, nil).Handler().(*textHandler); !ok || h.color != c.color {
			t.Errorf("%v: the log is %+v", c.env, h)
		}
	}
}
