package wire

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// wireCase is one case of the table. cases/README.md describes how it is
// written.
type wireCase struct {
	name  string
	place string // file and line, for messages
	whole bool   // played in one way only: the outcome depends on how, and when, the bytes arrive
	steps []step // of the client, in order
	// scripts are the steps of the backend, one list for each request that
	// reaches it; a request beyond them is read and answered.
	scripts [][]string
	seen    string // what must have reached the backend, as render shows it
}

// step is one thing that the client does.
type step struct {
	send []byte
	fin  bool // closes its sending direction
	want *want
}

// want is one message that must come out.
type want struct {
	text     string // as the case has it
	status   int    // 0: the connection ends without a byte
	head     bool   // it answers HEAD
	close    bool   // the connection ends with it
	cut      bool   // it begins and does not come to its end
	contains []string
	exact    string // if not empty: the whole message, as render shows it
	tunnel   string // bytes behind a 101, to the end of the connection
}

// readCases reads one file of the table.
func readCases(t *testing.T, path string) []*wireCase {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []*wireCase
	names := map[string]bool{}
	p := &parser{}
	for i, line := range strings.Split(strings.TrimSuffix(string(data), "\n"), "\n") {
		place := fmt.Sprintf("%s:%d", filepath.Base(path), i+1)
		if name, ok := strings.CutPrefix(line, "== "); ok {
			if names[name] {
				t.Fatalf("%s: there are two cases named %q", place, name)
			}
			names[name] = true
			p = &parser{c: &wireCase{name: name, place: place}}
			all = append(all, p.c)
			continue
		}
		if err := p.line(line); err != nil {
			t.Fatalf("%s: %v", place, err)
		}
	}
	for _, c := range all {
		if len(c.steps) == 0 || c.steps[len(c.steps)-1].want == nil {
			t.Fatalf("%s: the case does not end with what must come out", c.place)
		}
	}
	return all
}

// parser takes up the lines of one case.
type parser struct {
	c    *wireCase
	last byte // the mark of the line before
}

func (p *parser) line(line string) error {
	if line == "" || line[0] == '#' {
		return nil
	}
	if p.c == nil {
		return fmt.Errorf("%q stands before the first case", line)
	}
	mark, rest := line[0], line[1:]
	verb := strings.HasPrefix(rest, "!")
	rest = strings.TrimPrefix(strings.TrimPrefix(rest, "!"), " ")
	text, err := unescape(expand(mark, rest))
	if err != nil {
		return err
	}
	switch {
	case mark == '!':
		err = p.action(rest)
	case mark == '>':
		p.send(text)
	case mark == '@' && verb:
		p.act(rest)
	case mark == '@':
		p.play(text)
	case mark == '<':
		err = p.expect(rest, text)
	case mark == '=':
		p.c.seen += text
	default:
		err = fmt.Errorf("no line begins with %q", mark)
	}
	p.last = mark
	if verb {
		p.last = 0
	}
	return err
}

func (p *parser) action(verb string) error {
	switch verb {
	case "whole":
		p.c.whole = true
	case "fin":
		p.c.steps = append(p.c.steps, step{fin: true})
	default:
		return fmt.Errorf("the client knows no action %q", verb)
	}
	return nil
}

// send joins lines that follow one another: they are one write.
func (p *parser) send(text string) {
	if n := len(p.c.steps); p.last == '>' {
		p.c.steps[n-1].send = append(p.c.steps[n-1].send, text...)
		return
	}
	p.c.steps = append(p.c.steps, step{send: []byte(text)})
}

// act adds a step that is not sending to the backend's script. Unless it
// begins with "unread", a script reads the message first.
func (p *parser) act(verb string) {
	if len(p.c.scripts) == 0 || verb == "next" {
		p.c.scripts = append(p.c.scripts, []string{"read"})
	}
	s := &p.c.scripts[len(p.c.scripts)-1]
	switch verb {
	case "next":
	case "unread":
		*s = nil
	default:
		*s = append(*s, verb)
	}
}

// play adds text that the backend sends; lines that follow one another are
// one write.
func (p *parser) play(text string) {
	if len(p.c.scripts) == 0 {
		p.act("next")
	}
	s := &p.c.scripts[len(p.c.scripts)-1]
	if n := len(*s); p.last == '@' {
		before, _ := strconv.Unquote(strings.TrimPrefix((*s)[n-1], "send "))
		(*s)[n-1] = "send " + strconv.Quote(before+text)
		return
	}
	*s = append(*s, "send "+strconv.Quote(text))
}

var wantLine = regexp.MustCompile(`^(HEAD )?(none|[0-9]{3})( close| cut)?$`)

func (p *parser) expect(raw, text string) error {
	m := wantLine.FindStringSubmatch(raw)
	begins := strings.HasPrefix(text, "HTTP/1.1 ")
	switch {
	case m != nil:
		w := &want{text: raw, head: m[1] != "", close: m[3] == " close" || m[2] == "none", cut: m[3] == " cut"}
		w.status, _ = strconv.Atoi(m[2])
		p.c.steps = append(p.c.steps, step{want: w})
		return nil
	case begins && len(text) > 12:
		status, err := strconv.Atoi(text[9:12])
		if err != nil {
			return err
		}
		p.c.steps = append(p.c.steps, step{want: &want{text: raw, status: status, exact: text}})
		return nil
	}
	if p.last != '<' {
		return fmt.Errorf("%q is neither a status nor the beginning of a response", raw)
	}
	w := p.c.steps[len(p.c.steps)-1].want
	tunnel, behind := strings.CutPrefix(text, "+ ")
	switch {
	case behind && w.status == 101:
		w.tunnel += tunnel
	case w.exact != "":
		w.exact += text
		w.close = w.close || text == "Connection: close\r\n"
	default:
		w.contains = append(w.contains, strings.TrimSuffix(text, "\r\n"))
	}
	return nil
}

// ours are the fields that Perch adds to each request, as render shows them.
const ours = "X-Forwarded-For: (client)\r\nX-Forwarded-Proto: http\r\nMS-ASPNETCORE-TOKEN: (token)"

var (
	plainRequest = regexp.MustCompile(`^\(([A-Z]+) (\S+)\)$`)
	plainAnswer  = regexp.MustCompile(`^\((\d{3})(?: (.*))?\)$`)
)

// expand writes the abbreviations of a line out.
func expand(mark byte, line string) string {
	if m := plainRequest.FindStringSubmatch(line); m != nil && mark == '>' {
		return m[1] + " " + m[2] + ` HTTP/1.1\r\nHost: a`
	} else if m != nil && mark == '=' {
		return m[1] + " " + m[2] + ` HTTP/1.1\r\nHost: a\r\n(ours)`
	}
	if m := plainAnswer.FindStringSubmatch(line); m != nil && mark == '@' {
		return fmt.Sprintf(`HTTP/1.1 %s Whatever\r\nNr: (nr)\r\nContent-Length: %d\r\n\r\n%s\`, m[1], len(m[2]), m[2])
	}
	return line
}

var repeated = regexp.MustCompile(`\\\((.*?)\*([0-9]+)\)`)

// unescape turns a line of a case into bytes. They end with CRLF, unless the
// line ends with a back-slash.
func unescape(line string) (string, error) {
	end := "\r\n"
	if strings.HasSuffix(line, `\`) && !strings.HasSuffix(line, `\\`) {
		line, end = line[:len(line)-1], ""
	}
	line = repeated.ReplaceAllStringFunc(line, func(s string) string {
		m := repeated.FindStringSubmatch(s)
		n, _ := strconv.Atoi(m[2])
		return strings.Repeat(m[1], n)
	})
	text, err := strconv.Unquote(`"` + strings.ReplaceAll(line, `"`, `\"`) + `"`)
	if err != nil {
		return "", fmt.Errorf("%.60q has a back-slash that means nothing: \\r \\n \\t \\\\ \\xNN \\(text*times) do, and one at the end for no CRLF", line)
	}
	return strings.ReplaceAll(text, "(ours)", ours) + end, nil
}
