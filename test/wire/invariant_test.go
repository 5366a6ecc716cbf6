package wire

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// Four things hold in every case, whatever it expects:
//
//  1. The backend saw exactly the requests that were answered by it, in that
//     order: account.
//  2. What leaves Perch has one framing, in either direction: readRequest and
//     readResponse, which take nothing else.
//  3. The path that was judged, forwarded and logged is one: onePath and
//     checkLog.
//  4. No reset comes where a status could have been read: client.expect and
//     client.end.

// collect takes what the backend got apart, with the strict reader. Messages
// are in the order in which their first bytes came.
func (r *rig) collect(t *testing.T, cl *client) (seen []*message, err error) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		var open bool
		events := r.heard(t)
		r.heardBytes = size(events)
		if seen, open, err = split(events, cl.upgraded()); err != nil || !open {
			return seen, err
		}
		// A message that is not whole is at its end when its connection is,
		// and that comes soon.
		if time.Now().After(end) {
			return nil, fmt.Errorf("a message is not whole, and its connection is not closed: %q", seen[len(seen)-1].render(false))
		}
	}
}

func size(events []event) (n int) {
	for _, e := range events {
		n += len(e.Data)
	}
	return n
}

// upgraded reports whether the client got a 101.
func (cl *client) upgraded() bool {
	return slices.ContainsFunc(cl.finals, func(m *message) bool { return m.status() == 101 })
}

// split reports, beside the messages, whether one is not whole although its
// connection is open.
func split(events []event, upgraded bool) (all []*message, open bool, err error) {
	type stream struct {
		data  []byte
		ended bool
	}
	streams := map[int]*stream{}
	for _, e := range events {
		s := streams[e.Conn]
		if s == nil {
			s = &stream{}
			streams[e.Conn] = s
		}
		s.data = append(s.data, e.Data...)
		s.ended = s.ended || len(e.Data) == 0
	}
	// A client's requests follow one another, so messages of two connections
	// do not mix: the first piece of each tells the order.
	taken := map[int]int{}
	passed := map[int]int{}
	for _, e := range events {
		passed[e.Conn] += len(e.Data)
		s := streams[e.Conn]
		for taken[e.Conn] < passed[e.Conn] {
			m, n, err := readRequest(s.data[taken[e.Conn]:])
			if err != nil {
				return nil, false, err
			}
			if m == nil {
				m, n = &message{head: string(s.data[taken[e.Conn]:]), short: true}, len(s.data)-taken[e.Conn]
			}
			if upgraded && m.lists("Connection", "upgrade") { // the rest is not HTTP
				m.body, n = s.data[taken[e.Conn]+n:], len(s.data)-taken[e.Conn]
				open = open || !s.ended
			}
			all = append(all, m)
			open = open || m.short && !s.ended
			taken[e.Conn] += n
		}
	}
	return all, open, nil
}

// account matches responses with the requests that the backend saw. A
// response of the backend says in its field Nr which request it answers, in
// the order in which they reached it. What Perch answers itself belongs to no
// request, but for a 502, which stands for one that the backend did not answer
// properly and may have been sent to it once more, and for the refusal of a
// body that went wrong on its way.
func account(cl *client, seen []*message) error {
	i := 0
	for _, m := range cl.finals {
		nr := m.get("Nr")
		switch {
		case len(nr) == 1:
			if nr[0] == fmt.Sprint(i+2) && resent(seen, i) {
				i++
			}
			if i++; i > len(seen) || nr[0] != fmt.Sprint(i) {
				return fmt.Errorf("the answer to request %s of the backend came where that to %d of %d was next", nr[0], i, len(seen))
			}
		case len(nr) > 1:
			return fmt.Errorf("a response with the numbers %q", nr)
		case m.status() == 502:
			if i++; i > len(seen) {
				return fmt.Errorf("a 502 for a request that the backend did not see")
			}
			if resent(seen, i-1) {
				i++
			}
		case i < len(seen) && seen[i].short:
			i++
		}
	}
	if len(cl.finals) == 0 && len(seen) == 1 && seen[0].short {
		return nil // there was nobody left to answer
	}
	if i != len(seen) {
		return fmt.Errorf("the backend saw %d requests, and the client got answers to %d", len(seen), i)
	}
	return nil
}

// resent reports whether a message was sent once more, as one may be that is
// safe and has no body.
func resent(seen []*message, i int) bool {
	if i+1 >= len(seen) || seen[i].render(false) != seen[i+1].render(false) || len(seen[i].body) > 0 {
		return false
	}
	method, _, _ := strings.Cut(seen[i].start, " ")
	return slices.Contains([]string{"GET", "HEAD", "OPTIONS"}, method)
}

// onePath checks the targets that reached the backend. The site has a node
// below /guarded whose handler is not the application, so whatever is judged
// to be there does not get here. A target that did get here must not lead
// there in any way to read it: as it stands, decoded once, with encoded
// slashes and back-slashes taken for separators, dot segments resolved before
// or after. And it must be in the one form that Perch judges: resolving it
// changes nothing. It is then the same path for Perch and for whoever decodes
// it next.
func onePath(seen []*message) error {
	for _, m := range seen {
		parts := strings.Split(m.start, " ")
		if len(parts) != 3 || parts[1] == "*" {
			continue
		}
		path, _, _ := strings.Cut(parts[1], "?")
		for _, reading := range readings(path) {
			if strings.HasPrefix(strings.ToLower(reading)+"/", "/guarded/") {
				return fmt.Errorf("the target %q reached the backend and can be read as %q", parts[1], reading)
			}
		}
		decoded, err := url.PathUnescape(keepSlashes(path))
		if err != nil {
			return fmt.Errorf("the target %q: %v", parts[1], err)
		}
		if judged, err := judge(parts[1]); err != nil || judged != decoded {
			return fmt.Errorf("the target %q reached the backend, and resolves to %q, %v", parts[1], judged, err)
		}
	}
	return nil
}

// checkLog stops the host and reads its log. A line about a failed request
// carries the target as it came and the path that was judged: the second must
// follow from the first. What was logged as forwarded in vain, with 502, must
// not be where nothing is forwarded, and there must be as many such lines as
// clients got such answers, or responses that were cut. (Requests that went well are not logged yet.)
func (r *rig) checkLog(t *testing.T) {
	t.Helper()
	if n := size(r.heard(t)); n != r.heardBytes {
		t.Errorf("behind the last case the backend got %d bytes more", n-r.heardBytes)
	}
	r.h.Stop()
	failed := 0
	for _, e := range r.h.Events() {
		path, logged := e["path"].(string)
		target, _ := e["target"].(string)
		if !logged {
			continue
		}
		judged, err := judge(target)
		if err != nil || judged != path {
			t.Errorf("the log says that the target %q was judged as %q, want %q, %v", target, path, judged, err)
		}
		if e["status"] == 502.0 {
			failed++
			if strings.HasPrefix(strings.ToLower(path)+"/", "/guarded/") {
				t.Errorf("forwarded: %s", e.Text())
			}
		}
	}
	if failed != r.failed {
		t.Errorf("the log has %d responses with 502 or cut, and clients got %d", failed, r.failed)
	}
}

// judge is the path of a target as the design has it: decoded once, encoded
// slashes kept, back-slashes as slashes, empty and dot segments resolved.
func judge(target string) (string, error) {
	if target == "*" {
		return "/", nil
	}
	if _, rest, ok := strings.Cut(target, "://"); ok && target[0] != '/' {
		i := strings.IndexAny(rest, "/?")
		if i < 0 {
			return "/", nil
		}
		if target = rest[i:]; target[0] == '?' {
			target = "/" + target
		}
	}
	path, _, _ := strings.Cut(target, "?")
	decoded := ""
	for _, s := range strings.Split(keepSlashes(strings.ReplaceAll(path, `\`, "/")), "/")[1:] {
		d, err := url.PathUnescape(s)
		if err != nil {
			return "", err
		}
		decoded += "/" + d
	}
	return resolve(decoded), nil
}

// keepSlashes encodes the encoded slashes and back-slashes once more.
func keepSlashes(s string) string {
	return strings.NewReplacer("%2f", "%252f", "%2F", "%252F", "%5c", "%255c", "%5C", "%255C").Replace(s)
}

// resolve removes empty and dot segments. What leads above the root stays
// there.
func resolve(path string) string {
	var out []string
	parts := strings.Split(path, "/")[1:]
	for i, s := range parts {
		last := i == len(parts)-1
		switch s {
		case "", ".":
		case "..":
			out = out[:max(0, len(out)-1)]
		default:
			out = append(out, s)
			continue
		}
		if last {
			out = append(out, "")
		}
	}
	return "/" + strings.Join(out, "/")
}

// readings are the paths that somebody could take this one for.
func readings(path string) []string {
	once, err := url.PathUnescape(path)
	if err != nil {
		once = path
	}
	all := []string{path, once}
	for _, p := range []string{path, once} {
		all = append(all, resolve(p), resolve(strings.ReplaceAll(p, `\`, "/")))
	}
	return all
}
