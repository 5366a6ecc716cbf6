package requests

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/perchserver/perch/test/harness"
)

// headerCases are about header fields in both directions.
var headerCases = []exchangeCase{
	{name: "FieldsFromStrangersAreDropped", run: func(t *testing.T, h *harness.Host, app harness.App) {
		for _, f := range []string{
			"MS-ASPNETCORE-CLIENTCERT: x", "ms-aspnetcore-winauthtoken: 4", "MS-ASPNETCORE-EVENT: shutdown",
			"MS-ASPNETCOREsomething: x", "Ms_Aspnetcore_Clientcert: x", "MS-ASPNETCORE_WINAUTHTOKEN: 4",
			"Forwarded: for=203.0.113.7", "X-Forwarded-Host: evil.example", "X-Forwarded-Prefix: /evil",
			"X_Forwarded_For: 203.0.113.7", "X_Forwarded-Proto: https", "X-Forwarded_Host: evil.example",
			"Proxy-Connection: keep-alive",
		} {
			name, _, _ := strings.Cut(f, ":")
			s := h.Seen("GET", "/", f)
			if got := s.Field(name); len(got) > 0 {
				t.Errorf("%s reached the application as %q", f, got)
			}
		}
	}},
	{name: "TokenFromOutsideIsReplaced", only: "aspNetCore", run: func(t *testing.T, h *harness.Host, _ harness.App) {
		s := h.Seen("GET", "/", "MS-ASPNETCORE-TOKEN: guess")
		if got := s.Field("MS-ASPNETCORE-TOKEN"); len(got) != 1 || got[0] == "guess" {
			t.Errorf("token %q reached the application", got)
		}
	}},
	{name: "ConnectionNamedFieldsAreDropped", framing: true, run: func(t *testing.T, h *harness.Host, _ harness.App) {
		c := h.Dial()
		c.Send("GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nX-End: 2\r\n\r\n")
		text := strings.ToLower(c.Response("GET").Text())
		if strings.Contains(text, `"x-hop"`) || !strings.Contains(text, `"x-end"`) {
			t.Errorf("the application saw %s", text)
		}
	}},
	{name: "EndToEndFieldsPass", run: func(t *testing.T, h *harness.Host, _ harness.App) {
		s := h.Seen("GET", "/", "Accept-Encoding: gzip, br", "Cookie: a=1; b=2", "Authorization: Bearer x", "X-Twice: 1", "X-Twice: 2")
		for name, want := range map[string]string{
			"Accept-Encoding": "gzip, br", "Cookie": "a=1; b=2", "Authorization": "Bearer x", "X-Twice": "1, 2",
		} {
			if got := strings.Join(s.Field(name), ", "); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
	}},
	{name: "RepeatedResponseFields", run: func(t *testing.T, h *harness.Host, _ harness.App) {
		r := h.Get("/headers?Set-Cookie=a%3D1&Set-Cookie=b%3D2&X-Many=1&X-Many=2&Vary=A&Vary=B")
		for name, want := range map[string][]string{"Set-Cookie": {"a=1", "b=2"}, "X-Many": {"1", "2"}, "Vary": {"A", "B"}} {
			if got := r.Header.Values(name); !slices.Equal(got, want) {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
	}},
	{name: "OneDate", run: func(t *testing.T, h *harness.Host, _ harness.App) {
		if got := h.Get("/headers").Header.Values("Date"); len(got) != 1 {
			t.Errorf("Date is %q, want one value", got)
		}
	}},
	{name: "ResponseConnectionFieldStaysInside", http1: true, run: func(t *testing.T, h *harness.Host, _ harness.App) {
		for range 3 { // the connection to the client lives on
			if r := h.Get("/headers?Connection=close"); r.Text() != "headers" || r.Close || r.Header["Connection"] != nil {
				t.Fatalf("response %q, Connection %q, close %v", r.Text(), r.Header["Connection"], r.Close)
			}
		}
	}},
	{name: "StatusAndReason", http1: true, run: func(t *testing.T, h *harness.Host, _ harness.App) {
		for target, want := range map[string]string{
			"/status?code=200":                             "200 OK",
			"/status?code=404&body=own":                    "404 Not Found",
			"/status?code=500&body=own":                    "500 Internal Server Error",
			"/status?code=418&reason=Short%20and%20stout":  "418 Short and stout",
			"/status?code=599&reason=Odd&body=own":         "599 Odd",
			"/status?code=503&reason=Custom%20Reason":      "503 Custom Reason",
			"/status?code=401&reason=Go%20away&body=own":   "401 Go away",
			"/status?code=302&reason=Elsewhere&body=moved": "302 Elsewhere",
		} {
			r := h.Get(target)
			code, _, _ := strings.Cut(want, " ")
			if r.Status != want && (r.ProtoMajor == 1 || fmt.Sprint(r.StatusCode) != code) { // HTTP/2 has no reason
				t.Errorf("%s answered %q, want %q", target, r.Status, want)
			}
			if strings.Contains(target, "body=own") && r.Text() != "own" {
				t.Errorf("%s: body %q was replaced", target, r.Text())
			}
		}
	}},
	{name: "Head", run: func(t *testing.T, h *harness.Host, _ harness.App) {
		for range 2 {
			r := h.Do("HEAD", "/download?bytes=1234", nil, nil)
			if r.StatusCode != 200 || r.ContentLength != 1234 || len(r.Bytes) != 0 {
				t.Fatalf("HEAD answered %d, length %d, %d bytes", r.StatusCode, r.ContentLength, len(r.Bytes))
			}
		}
	}},
}

// The fields of httpProtocol are on every response, whoever made it.
func TestCustomHeaders(t *testing.T) {
	t.Parallel()
	h := harness.Go().Start(t, harness.WebConfig{More: `      <httpProtocol allowKeepAlive="false"><customHeaders><add name="X-Frame-Options" value="DENY" /></customHeaders></httpProtocol>
      <security><requestFiltering><requestLimits maxAllowedContentLength="10" /></requestFiltering></security>
`}.Use(t))
	for _, c := range []struct {
		who, method, body string
		status            int
	}{
		{"the application", "GET", "", 200},
		{"Perch", "POST", "more than ten bytes", 413},
	} {
		r := h.Do(c.method, "/", nil, strings.NewReader(c.body))
		if r.StatusCode != c.status || r.Header.Get("X-Frame-Options") != "DENY" || !r.Close {
			t.Errorf("by %s: %d %v, close %v; want %d with the field, and the end of the connection", c.who, r.StatusCode, r.Header, r.Close, c.status)
		}
	}
}
