package errorpage

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/exchange/exchangetest"
)

// startFailure is an error that can tell itself, with texts that would break
// out of a page.
type startFailure struct{}

func (startFailure) Error() string { return "exit code 131 & more" }

func (startFailure) Report() exchange.Report {
	return exchange.Report{
		Title:  "The application did not start",
		Step:   "wait for the listening port",
		Facts:  []exchange.Fact{{Name: "Exit code", Value: "131"}, {Name: "Folder", Value: "/srv/<app>"}},
		Advice: []string{"Install the runtime & try again.", "Run it by hand."},
		Output: "\x1b[31mfail\x1b[0m: <script>alert(1)</script>\x07\x1b]0;title\n\xff end",
	}
}

func start502() *exchange.Error {
	return &exchange.Error{Status: 502, SubStatus: 5, Op: "start application", Public: "The application could not be started.", Err: startFailure{}}
}

// serve runs the module around a handler that returns err.
func serve(t *testing.T, s Settings, x *exchange.Exchange, err error) {
	t.Helper()
	h := Module(s)(exchange.HandlerFunc(func(*exchange.Exchange) error { return err }))
	if err := h.Serve(x); err != nil {
		t.Fatal(err)
	}
}

func answer(t *testing.T, s Settings, err error, fields ...string) *exchangetest.Recorder {
	t.Helper()
	x, r := exchangetest.New("GET", "/", fields...)
	serve(t, s, x, err)
	if err := r.Problem(); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestPageOfAFailedStart(t *testing.T) {
	t.Parallel()
	r := answer(t, Settings{MoreLink: "http://help.example/?a=1"}, start502())
	body := string(r.Body)
	if r.Status != 502 || r.SubStatus != 5 {
		t.Errorf("status %d.%d", r.Status, r.SubStatus)
	}
	if got, want := r.Head(), "502\nContent-Type: text/html\nCache-Control: no-store\n"; got != want {
		t.Errorf("head %q, want %q", got, want)
	}
	if !strings.HasSuffix(body, "\n</html>\r\n") {
		t.Errorf("the page ends in %q", body[max(0, len(body)-20):])
	}
	const heading = "HTTP Error 502.5 - ANCM Out-Of-Process Startup Failure"
	for _, want := range []string{
		"<title>" + heading + "</title>", "<h1>" + heading + "</h1>",
		"<p>The application could not be started.</p>",
		"<h2>The application did not start</h2>",
		"<dt>Step</dt><dd>wait for the listening port</dd>",
		"<dt>Exit code</dt><dd>131</dd>", "<dd>/srv/&lt;app&gt;</dd>",
		"<li>Install the runtime &amp; try again.</li>",
		"fail: &lt;script&gt;alert(1)&lt;/script&gt;]0;title\n\uFFFD end</pre>",
		`<a href="http://help.example/?a=1"> <cite> http://help.example/?a=1 </cite></a> and ` +
			`<a href="https://go.microsoft.com/fwlink/?LinkID=2028526"> <cite> https://go.microsoft.com/fwlink/?LinkID=2028526 </cite></a>`,
		"Request 7-1",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(body, "<script") || strings.ContainsAny(body, "\x1b\x07") {
		t.Error("the page has what the application printed, unescaped")
	}
	if t.Failed() {
		t.Log(body)
	}
	wellFormed(t, r.Body)
}

// The heading of the original module is for its own applications.
func TestKindOfTheError(t *testing.T) {
	t.Parallel()
	e := start502()
	e.Kind = "Application Startup Failure"
	if r := answer(t, Settings{}, e); !strings.Contains(string(r.Body), "<h1>HTTP Error 502.5 - Application Startup Failure</h1>") {
		t.Errorf("%s", r.Body)
	}
}

// wellFormed reads a page as a tree: what a text had let through would not
// close.
func wellFormed(t *testing.T, body []byte) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(bytes.TrimPrefix(body, []byte("<!DOCTYPE html>"))))
	d.Entity = xml.HTMLEntity
	for {
		_, err := d.Token()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatalf("the page is not well-formed: %v", err)
		}
	}
}

func TestDetailsAreForTheMachineAlone(t *testing.T) {
	t.Parallel()
	lan := netip.MustParseAddrPort("192.168.1.9:50000")
	tests := []struct {
		name        string
		remote      netip.AddrPort // zero: loopback
		listener    netip.AddrPort
		fields      []string
		development bool
		want        bool
	}{
		{name: "loopback", want: true},
		{name: "other-client", remote: lan},
		{name: "other-listener", listener: lan},
		{name: "loopback6", remote: netip.MustParseAddrPort("[::1]:5"), listener: netip.MustParseAddrPort("[::1]:80"), want: true},
		{name: "mapped", remote: netip.MustParseAddrPort("[::ffff:127.0.0.1]:5"), want: true},
		{name: "forwarded-for", fields: []string{"X-Forwarded-For: 127.0.0.1"}},
		{name: "forwarded-proto", fields: []string{"x-forwarded-proto: http"}},
		{name: "forwarded-anything", fields: []string{"X-FORWARDED-SERVER: a"}},
		{name: "forwarded", fields: []string{"Forwarded: for=127.0.0.1"}},
		{name: "via", fields: []string{"Via: 1.1 proxy"}},
		{name: "empty-field", fields: []string{"X-Forwarded-For:"}},
		{name: "similar-field", fields: []string{"X-Forward: a"}, want: true},
		{name: "development", remote: lan, fields: []string{"Via: 1.1 proxy"}, development: true, want: true},
	}
	secrets := []string{"131", "/srv/", "wait for the listening port", "Install the runtime", "alert", "did not start"}
	for _, tt := range tests {
		for _, accept := range []string{"text/html", "application/json", "text/plain"} {
			x, r := exchangetest.New("GET", "/", append(tt.fields, "Accept: "+accept)...)
			if tt.remote.IsValid() {
				x.Conn.Remote = tt.remote
			}
			if tt.listener.IsValid() {
				x.Conn.Local = tt.listener
			}
			serve(t, Settings{Development: tt.development}, x, start502())
			body := string(r.Body)
			for _, s := range secrets {
				if strings.Contains(body, s) != tt.want {
					t.Errorf("%s, %s: page has %q: %v, want %v", tt.name, accept, s, !tt.want, tt.want)
				}
			}
			for _, s := range []string{"502", "5", "7-1", "The application could not be started."} {
				if !strings.Contains(body, s) {
					t.Errorf("%s, %s: page lacks %q", tt.name, accept, s)
				}
			}
		}
	}
}

func TestCauseWithoutReport(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("outer: %w", exchange.Errorf(404, 8, "serve file", "segment %q is hidden", "bin"))
	if body := string(answer(t, Settings{}, err).Body); !strings.Contains(body, "<h1>HTTP Error 404.8 - Not Found</h1>") ||
		!strings.Contains(body, "segment &#34;bin&#34; is hidden") || strings.Contains(body, "fwlink") {
		t.Errorf("page:\n%s", body)
	}
	r := answer(t, Settings{}, errors.New("no exchange error"), "Via: 1.1 proxy")
	if body := string(r.Body); r.Status != 500 || !strings.Contains(body, "HTTP Error 500.0 - Internal Server Error") || strings.Contains(body, "no exchange error") {
		t.Errorf("%d:\n%s", r.Status, body)
	}
}

func TestProblemDetails(t *testing.T) {
	t.Parallel()
	r := answer(t, Settings{}, start502(), "Accept: application/json")
	if ct, _ := r.Field("Content-Type"); ct != "application/problem+json" {
		t.Errorf("Content-Type %q", ct)
	}
	var got struct {
		Title     string
		Status    int
		Detail    string
		SubStatus int
		RequestID string
		Report    struct {
			Step   string
			Facts  []struct{ Name, Value string }
			Advice []string
			Output string
		}
	}
	if err := json.Unmarshal(r.Body, &got); err != nil {
		t.Fatalf("%v:\n%s", err, r.Body)
	}
	if got.Title != "ANCM Out-Of-Process Startup Failure" || got.Status != 502 || got.SubStatus != 5 || got.RequestID != "7-1" ||
		got.Detail != "The application could not be started." || got.Report.Step != "wait for the listening port" ||
		len(got.Report.Facts) != 2 || got.Report.Facts[1].Value != "/srv/<app>" || len(got.Report.Advice) != 2 ||
		!strings.HasPrefix(got.Report.Output, "fail: <script>") {
		t.Errorf("%+v", got)
	}
	far := answer(t, Settings{}, start502(), "Accept: application/problem+json", "Via: 1.1 a")
	if bytes.Contains(far.Body, []byte("report")) {
		t.Errorf("%s", far.Body)
	}
}

func TestPlainText(t *testing.T) {
	t.Parallel()
	r := answer(t, Settings{}, start502(), "Accept: text/plain")
	want := `HTTP Error 502.5 - ANCM Out-Of-Process Startup Failure

The application could not be started.

The application did not start
  Step: wait for the listening port
  Exit code: 131
  Folder: /srv/<app>

What to do
  - Install the runtime & try again.
  - Run it by hand.

Last output
fail: <script>alert(1)</script>]0;title
` + "\uFFFD" + ` end

More: https://go.microsoft.com/fwlink/?LinkID=2028526

Request 7-1
`
	if got := string(r.Body); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if ct, _ := r.Field("Content-Type"); ct != "text/plain; charset=utf-8" {
		t.Errorf("Content-Type %q", ct)
	}
}

func TestWithoutBody(t *testing.T) {
	t.Parallel()
	r := answer(t, Settings{}, &exchange.Error{Status: 500, Empty: true})
	if got := r.Head(); got != "500\nCache-Control: no-store\n" || len(r.Body) != 0 || r.Length != 0 {
		t.Errorf("head %q, body %q", got, r.Body)
	}
	get := answer(t, Settings{}, start502())
	x, head := exchangetest.New("HEAD", "/")
	serve(t, Settings{}, x, start502())
	if err := head.Problem(); err != nil || head.Length != get.Length || head.Head() != get.Head() || len(head.Body) != 0 {
		t.Errorf("HEAD: %v, length %d and %d, head %q", err, head.Length, get.Length, head.Head())
	}
}

func TestFields(t *testing.T) {
	t.Parallel()
	leftovers := func(h *exchange.Header) {
		for _, id := range []exchange.FieldID{exchange.ETag, exchange.ContentType, exchange.ContentEncoding, exchange.SetCookie,
			exchange.Allow, exchange.ContentRange, exchange.WWWAuthenticate, exchange.Location, exchange.CacheControl} {
			h.AddString(id, "left")
		}
		h.AddName([]byte("X-Left"), []byte("left"))
	}
	for status, want := range map[int]string{
		401: "WWW-Authenticate: left\n",
		405: "Allow: left\n",
		416: "Content-Range: left\n",
		404: "",
		500: "",
	} {
		x, r := exchangetest.New("GET", "/")
		leftovers(&x.Response.Header)
		x.Response.Reason = []byte("left")
		x.Response.Trailer = []exchange.Field{{Name: []byte("X"), Value: []byte("left")}}
		serve(t, Settings{}, x, &exchange.Error{Status: status, RetryAfter: 5, Close: true, Empty: true})
		if got, want := r.Head(), fmt.Sprintf("%d\n%sCache-Control: no-store\nRetry-After: 5\n", status, want); got != want {
			t.Errorf("head %q, want %q", got, want)
		}
		if !x.Response.Close || r.Reason != "" || len(x.Response.Trailer) != 0 {
			t.Errorf("close %v, reason %q, trailer %v", x.Response.Close, r.Reason, x.Response.Trailer)
		}
	}
}

func TestSuccessPassesUntouched(t *testing.T) {
	t.Parallel()
	x, r := exchangetest.New("GET", "/")
	h := Module(Settings{})(exchange.HandlerFunc(func(x *exchange.Exchange) error {
		x.Response.Status = 404 // an application's own
		x.Response.Header.AddString(exchange.ETag, `"a"`)
		return x.Response.Writer.WriteHead(x)
	}))
	if err := h.Serve(x); err != nil || r.Head() != "404\nETag: \"a\"\n" {
		t.Errorf("%v, head %q", err, r.Head())
	}
}

func TestStartedResponseIsLeftToTheDriver(t *testing.T) {
	t.Parallel()
	var logged bytes.Buffer
	x, r := exchangetest.New("GET", "/")
	cause := exchange.Errorf(502, 3, "forward", "the application closed the connection")
	h := Module(Settings{Log: slog.New(slog.NewTextHandler(&logged, nil))})(exchange.HandlerFunc(func(x *exchange.Exchange) error {
		x.Response.Status, x.Response.Length = 200, 10
		if err := x.Response.Writer.WriteHead(x); err != nil {
			return err
		}
		return cause
	}))
	if err := h.Serve(x); err != error(cause) {
		t.Errorf("error %v", err)
	}
	if r.Status != 200 || len(r.Body) != 0 || !strings.Contains(logged.String(), "cut=true") {
		t.Errorf("status %d, body %q, log %s", r.Status, r.Body, logged.String())
	}
}

func TestCutInPlaceOfAnAnswer(t *testing.T) {
	t.Parallel()
	var logged bytes.Buffer
	x, r := exchangetest.New("POST", "/")
	cause := exchange.Errorf(502, 3, "forward", "the application reset the stream")
	cause.Cut = true
	h := Module(Settings{Log: slog.New(slog.NewTextHandler(&logged, nil))})(exchange.HandlerFunc(func(*exchange.Exchange) error { return cause }))
	if err := h.Serve(x); err != error(cause) || x.Response.Started {
		t.Errorf("error %v, started %v", err, x.Response.Started)
	}
	if len(r.Body) != 0 || !strings.Contains(logged.String(), "cut=true") {
		t.Errorf("body %q, log %s", r.Body, logged.String())
	}
}

// wrapped is a writer that a module inside put in front and that must not see
// the page.
type wrapped struct{ exchange.Writer }

func TestWriterOfAnInnerModuleIsPutAside(t *testing.T) {
	t.Parallel()
	x, r := exchangetest.New("GET", "/")
	h := Module(Settings{})(exchange.HandlerFunc(func(x *exchange.Exchange) error {
		x.Response.Writer = wrapped{} // panics if used
		return exchange.Errorf(404, 0, "serve file", "no file")
	}))
	if err := h.Serve(x); err != nil || r.Status != 404 {
		t.Errorf("%v, status %d", err, r.Status)
	}
}

func TestLog(t *testing.T) {
	t.Parallel()
	var logged bytes.Buffer
	s := Settings{Log: slog.New(slog.NewJSONHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	answer(t, s, start502())
	answer(t, s, fmt.Errorf("outer: %w", exchange.Errorf(404, 8, "serve file", "hidden")))
	lines := strings.Split(strings.TrimSpace(logged.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d lines:\n%s", len(lines), logged.String())
	}
	var first, second map[string]any
	if err := errors.Join(json.Unmarshal([]byte(lines[0]), &first), json.Unmarshal([]byte(lines[1]), &second)); err != nil {
		t.Fatal(err)
	}
	report, _ := first["report"].(map[string]any)
	if first["level"] != "ERROR" || first["request"] != "7-1" || first["status"] != 502.0 || first["substatus"] != 5.0 ||
		report["step"] != "wait for the listening port" || report["exit_code"] != "131" || !strings.HasPrefix(fmt.Sprint(report["output"]), "fail:") {
		t.Errorf("first line: %s", lines[0])
	}
	if second["level"] != "DEBUG" || second["status"] != 404.0 || second["report"] != nil || !strings.HasPrefix(fmt.Sprint(second["err"]), "outer: ") {
		t.Errorf("second line: %s", lines[1])
	}
}

func TestHeadings(t *testing.T) {
	t.Parallel()
	for want, code := range map[string][2]int{
		"Not Found":                           {404, 3},
		"Forbidden":                           {403, 14},
		"Bad Gateway":                         {502, 3},
		"Service Unavailable":                 {503, 0},
		"Internal Server Error":               {500, 19},
		"ASP.NET Core app failed to start":    {500, 30},
		"Failed to locate ASP.NET Core app":   {500, 38},
		"Error":                               {499, 0},
		"ANCM Out-Of-Process Startup Failure": {502, 5},
		"ASP.NET Core app failed to start within startup time limit": {500, 37},
	} {
		if got := generalType(code[0], code[1]); got != want {
			t.Errorf("%d.%d: %q, want %q", code[0], code[1], got, want)
		}
	}
	if got := generalType(500, 39); got != "Internal Server Error" {
		t.Errorf("500.39: %q", got)
	}
}

func TestPrintable(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain\ttext\nüñ":      "plain\ttext\nüñ",
		"\x1b[1;31mred\x1b[0m": "red",
		"a\x1b[":               "a",
		"\x1b[2Jcls\x1b":       "cls",
		"bell\x07\r\n":         "bell\n",
		"c1\u009b31m":          "c131m",
		"bad\xffbyte":          "bad\uFFFDbyte",
	} {
		if got := printable(in); got != want {
			t.Errorf("printable(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestDetailsNeedALoopbackHost(t *testing.T) {
	for host, want := range map[string]bool{
		"": true, "localhost": true, "LOCALHOST:8080": true, "shop.localhost": true, "127.0.0.1:80": true,
		"127.8.8.8": true, "[::1]:80": true, "[::1]": true, "[::ffff:127.0.0.1]": true,
		"shop.example": false, "localhost.example": false, "notlocalhost": false, "10.0.0.1": false, "[::2]:80": false,
	} {
		if got := loopbackHost([]byte(host)); got != want {
			t.Errorf("%q is on this machine: %v, want %v", host, got, want)
		}
	}
}

// ownPage is an error with a page of its own.
type ownPage struct{ error }

func (ownPage) Page() (string, []byte) { return "text/html", []byte("<p>back soon") }

func TestAnErrorsOwnPageIsSentAsItIs(t *testing.T) {
	for _, accept := range []string{"text/html", "application/json", "text/plain"} {
		x, w := exchangetest.New("POST", "/any", "Accept: "+accept)
		failed := exchange.HandlerFunc(func(*exchange.Exchange) error {
			return &exchange.Error{Status: 503, RetryAfter: 1, Err: ownPage{errors.New("offline")}}
		})
		if err := Module(Settings{})(failed).Serve(x); err != nil {
			t.Fatal(err)
		}
		contentType, _ := w.Field("Content-Type")
		retry, _ := w.Field("Retry-After")
		if w.Status != 503 || string(w.Body) != "<p>back soon" || contentType != "text/html" || retry != "1" {
			t.Errorf("Accept %s: %d %q %q Retry-After %q", accept, w.Status, contentType, w.Body, retry)
		}
	}
}
