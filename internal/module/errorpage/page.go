package errorpage

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"strings"
	"unicode"

	"github.com/perchserver/perch/internal/exchange"
)

// page is what is told of one error. Its texts are printable.
type page struct {
	Status    int
	SubStatus int
	Kind      string // what follows the number in the heading
	Public    string
	Request   string // number of the request
	Link      string // general help; empty: none
	MoreLink  string // the administrator's help; shown with Link only

	// Report is nil if the client may not read it.
	Report *exchange.Report
}

// Heading is the title, in the form that IIS gives it.
func (p page) Heading() string {
	return fmt.Sprintf("HTTP Error %d.%d - %s", p.Status, p.SubStatus, p.Kind)
}

//go:embed page.html
var pageHTML string

func parsePage() *template.Template { return template.Must(template.New("page").Parse(pageHTML)) }

// render returns the body in a format, and its content type.
func (m *module) render(f format, p page) (body []byte, contentType string) {
	switch f {
	case formatJSON:
		return p.json(), "application/problem+json"
	case formatText:
		return p.text(), "text/plain; charset=utf-8"
	}
	var b bytes.Buffer
	if err := m.html.Execute(&b, p); err != nil {
		// Nothing but a mistake in the template leads here; the status still
		// reaches the client.
		return p.text(), "text/plain; charset=utf-8"
	}
	// The original module's tests look for these last nine bytes.
	return append(bytes.TrimRight(b.Bytes(), "\r\n"), "\r\n"...), "text/html"
}

// problem is the JSON form: RFC 9457 with members of our own. Type is left
// out, which stands for "about:blank".
type problem struct {
	Title     string         `json:"title"`
	Status    int            `json:"status"`
	Detail    string         `json:"detail,omitempty"`
	SubStatus int            `json:"subStatus"`
	Request   string         `json:"requestId"`
	Report    *problemReport `json:"report,omitempty"`
}

type problemReport struct {
	Title  string        `json:"title,omitempty"`
	Step   string        `json:"step,omitempty"`
	Facts  []problemFact `json:"facts,omitempty"`
	Advice []string      `json:"advice,omitempty"`
	Output string        `json:"output,omitempty"`
}

type problemFact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func (p page) json() []byte {
	out := problem{Title: p.Kind, Status: p.Status, Detail: p.Public, SubStatus: p.SubStatus, Request: p.Request}
	if r := p.Report; r != nil {
		out.Report = &problemReport{Title: r.Title, Step: r.Step, Advice: r.Advice, Output: r.Output}
		for _, f := range r.Facts {
			out.Report.Facts = append(out.Report.Facts, problemFact(f))
		}
	}
	body, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		panic(err) // strings and numbers always marshal
	}
	return append(body, '\n')
}

func (p page) text() []byte {
	var b bytes.Buffer
	fmt.Fprintln(&b, p.Heading())
	if p.Public != "" {
		fmt.Fprintf(&b, "\n%s\n", p.Public)
	}
	if r := p.Report; r != nil {
		if r.Title != "" {
			fmt.Fprintf(&b, "\n%s\n", r.Title)
		}
		if r.Step != "" {
			fmt.Fprintf(&b, "  Step: %s\n", r.Step)
		}
		for _, f := range r.Facts {
			fmt.Fprintf(&b, "  %s: %s\n", f.Name, f.Value)
		}
		if len(r.Advice) > 0 {
			fmt.Fprintf(&b, "\nWhat to do\n  - %s\n", strings.Join(r.Advice, "\n  - "))
		}
		if r.Output != "" {
			fmt.Fprintf(&b, "\nLast output\n%s\n", strings.TrimRight(r.Output, "\n"))
		}
	}
	if p.Link != "" {
		b.WriteString("\nMore: ")
		if p.MoreLink != "" {
			fmt.Fprintf(&b, "%s and ", printable(p.MoreLink))
		}
		fmt.Fprintln(&b, p.Link)
	}
	fmt.Fprintf(&b, "\nRequest %s\n", p.Request)
	return b.Bytes()
}

// report returns what is known of e: its cause's own report, or one made of
// its parts.
func report(e *exchange.Error) exchange.Report {
	var r exchange.Report
	var told exchange.Reporter
	if errors.As(e.Err, &told) {
		r = told.Report()
	} else {
		r.Step, r.Advice = e.Op, e.Advice
		if e.Err != nil {
			r.Facts = []exchange.Fact{{Name: "Cause", Value: e.Err.Error()}}
		}
	}
	clean := exchange.Report{
		Title:  printable(r.Title),
		Step:   printable(r.Step),
		Output: printable(r.Output),
	}
	for _, f := range r.Facts {
		clean.Facts = append(clean.Facts, exchange.Fact{Name: printable(f.Name), Value: printable(f.Value)})
	}
	for _, a := range r.Advice {
		clean.Advice = append(clean.Advice, printable(a))
	}
	return clean
}

// printable drops what would command a terminal rather than be read:
// control characters but for line ends and tabs, and the escape sequences that
// applications colour their output with.
func printable(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return unicode.IsControl(r) || r == unicode.ReplacementChar }) < 0 {
		return s
	}
	var b strings.Builder
	for i, piece := range strings.Split(strings.ToValidUTF8(s, "\uFFFD"), "\x1b") {
		if i > 0 && strings.HasPrefix(piece, "[") {
			// A control sequence ends at its first letter (ECMA-48 section 5.4).
			end := strings.IndexFunc(piece[1:], func(r rune) bool { return r >= '@' && r <= '~' })
			if end < 0 {
				continue
			}
			piece = piece[1+end+1:]
		}
		for _, r := range piece {
			if r == '\n' || r == '\t' || !unicode.IsControl(r) {
				b.WriteRune(r)
			}
		}
	}
	return b.String()
}

// generalType is the heading that the status goes by: the original module's
// own for its failures (spec 9.1), else the phrase of the status.
func generalType(status, sub int) string {
	switch {
	case status == 502 && sub == 5:
		return "ANCM Out-Of-Process Startup Failure"
	case status == 500 && sub >= 30 && sub < 30+len(hostFailures):
		return hostFailures[sub-30]
	}
	if p := phrases[status]; p != "" {
		return p
	}
	return "Error"
}

// hostFailures are the headings of 500.30 to 500.38. Never written.
var hostFailures = [...]string{
	"ASP.NET Core app failed to start",
	"Failed to load ASP.NET Core runtime",
	"Failed to load .NET Core host",
	"Failed to load ASP.NET Core request handler",
	"ASP.NET Core does not support mixing hosting models",
	"ASP.NET Core does not support multiple apps in the same app pool",
	"ASP.NET Core IIS hosting failure (out-of-process)",
	"ASP.NET Core app failed to start within startup time limit",
	"Failed to locate ASP.NET Core app",
}

// phrases of RFC 9110 section 15, RFC 6585 and RFC 4918. Never written.
var phrases = map[int]string{
	400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
	406: "Not Acceptable", 407: "Proxy Authentication Required", 408: "Request Timeout", 409: "Conflict", 410: "Gone",
	411: "Length Required", 412: "Precondition Failed", 413: "Content Too Large", 414: "URI Too Long",
	415: "Unsupported Media Type", 416: "Range Not Satisfiable", 417: "Expectation Failed", 421: "Misdirected Request",
	422: "Unprocessable Content", 423: "Locked", 426: "Upgrade Required", 428: "Precondition Required",
	429: "Too Many Requests", 431: "Request Header Fields Too Large", 500: "Internal Server Error",
	501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout",
	505: "HTTP Version Not Supported", 507: "Insufficient Storage",
}
