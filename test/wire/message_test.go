package wire

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// message is one HTTP/1.1 message as the strict reader found it.
type message struct {
	start   string // the first line
	head    string // as it came, the empty line included
	fields  [][2]string
	body    []byte
	chunked bool
	trailer string // field lines as they came
	short   bool   // it did not come to its end
}

// status of a response.
func (m *message) status() int {
	n, _ := strconv.Atoi(m.start[9:12])
	return n
}

// get returns the values of a field.
func (m *message) get(name string) (all []string) {
	for _, f := range m.fields {
		if strings.EqualFold(f[0], name) {
			all = append(all, f[1])
		}
	}
	return all
}

// lists reports whether a list-valued field has an element.
func (m *message) lists(name, element string) bool {
	for _, v := range m.get(name) {
		for e := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(e), element) {
				return true
			}
		}
	}
	return false
}

// render shows a message as the table writes it: how a chunked body was cut
// into chunks is left out, for it depends on how the bytes arrived. With rest,
// so is a body, which may or may not have come to its end.
func (m *message) render(rest bool) string {
	switch {
	case rest && (m.short || m.chunked || len(m.body) > 0):
		return m.head + "(rest)\r\n"
	case m.short:
		return m.head + "(cut)\r\n"
	case m.chunked && len(m.body) > 0:
		return fmt.Sprintf("%s%x\r\n%s\r\n0\r\n%s\r\n", m.head, len(m.body), m.body, m.trailer)
	case m.chunked:
		return m.head + "0\r\n" + m.trailer + "\r\n"
	}
	return m.head + string(m.body)
}

// The strict reader knows nothing of Perch's own parsers. It takes what RFC
// 9112 lets a sender generate and nothing that a recipient may tolerate: all
// that leaves Perch, to either side, has to pass it.

const tokenBytes = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

func isToken(s string) bool { return s != "" && strings.Trim(s, tokenBytes) == "" }

// readHead takes a head off b. Without error and message, b must grow.
func readHead(b []byte) (*message, int, error) {
	i := bytes.Index(b, []byte("\r\n\r\n"))
	if i < 0 {
		return nil, 0, nil
	}
	m := &message{head: string(b[:i+4])}
	lines := strings.Split(string(b[:i]), "\r\n")
	m.start = lines[0]
	var err error
	if m.fields, err = readFields(lines[1:]); err != nil {
		return nil, 0, err
	}
	if strings.ContainsAny(m.start, "\r\n\x00") {
		return nil, 0, fmt.Errorf("a control byte in the first line %q", m.start)
	}
	return m, i + 4, nil
}

func readFields(lines []string) (all [][2]string, err error) {
	for _, l := range lines {
		name, value, ok := strings.Cut(l, ":")
		if !ok || !isToken(name) {
			return nil, fmt.Errorf("the field line %q has no name", l)
		}
		if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return nil, fmt.Errorf("a control byte in the field line %q", l)
		}
		all = append(all, [2]string{name, strings.Trim(value, " \t")})
	}
	return all, nil
}

// framing returns the length that a head announces: -1 for none.
func (m *message) framing() (length int, chunked bool, err error) {
	lengths, codings := m.get("Content-Length"), m.get("Transfer-Encoding")
	switch {
	case len(lengths)+len(codings) > 1:
		return 0, false, fmt.Errorf("two framings: lengths %q, codings %q", lengths, codings)
	case len(codings) == 1 && codings[0] != "chunked":
		return 0, false, fmt.Errorf("the coding is %q", codings[0])
	case len(codings) == 1:
		return -1, true, nil
	case len(lengths) == 0:
		return -1, false, nil
	}
	length, err = strconv.Atoi(lengths[0])
	if err != nil || strconv.Itoa(length) != lengths[0] || length < 0 {
		return 0, false, fmt.Errorf("the length is %q", lengths[0])
	}
	return length, false, nil
}

// readBody takes the body off b. It reports false if b must grow.
func (m *message) readBody(b []byte) (n int, whole bool, err error) {
	length, chunked, err := m.framing()
	if m.chunked = chunked; err != nil {
		return 0, false, err
	}
	if !chunked {
		length = max(length, 0)
		m.body = bytes.Clone(b[:min(len(b), length)])
		return len(m.body), len(m.body) == length, nil
	}
	m.body = nil
	for {
		line, rest, ok := bytes.Cut(b[n:], []byte("\r\n"))
		if !ok {
			return n, false, nil
		}
		size, err := strconv.ParseUint(string(line), 16, 31)
		if err != nil {
			return n, false, fmt.Errorf("the chunk size line %.60q", line)
		}
		if size == 0 {
			return m.readTrailer(b, len(b)-len(rest))
		}
		if uint64(len(rest)) < size+2 {
			return n, false, nil
		}
		m.body = append(m.body, rest[:size]...)
		if string(rest[size:size+2]) != "\r\n" {
			return n, false, errors.New("no CRLF behind a chunk")
		}
		n = len(b) - len(rest) + int(size) + 2
	}
}

// readTrailer takes what follows the last chunk off b[n:].
func (m *message) readTrailer(b []byte, n int) (int, bool, error) {
	if bytes.HasPrefix(b[n:], []byte("\r\n")) {
		return n + 2, true, nil
	}
	i := bytes.Index(b[n:], []byte("\r\n\r\n"))
	if i < 0 {
		return n, false, nil
	}
	m.trailer = string(b[n : n+i+2])
	fields, err := readFields(strings.Split(string(b[n:n+i]), "\r\n"))
	if err != nil {
		return n, false, err
	}
	for _, f := range fields {
		name := strings.ToLower(strings.ReplaceAll(f[0], "_", "-"))
		if slices.Contains([]string{"content-length", "transfer-encoding", "host", "connection", "trailer", "te", "expect", "authorization", "cookie", "set-cookie"}, name) ||
			strings.HasPrefix(name, "ms-aspnetcore") || strings.HasPrefix(name, "x-forwarded") {
			return n, false, fmt.Errorf("the trailer field %q", f[0])
		}
	}
	return n + i + 4, true, nil
}

// readRequest takes a request off b, as a backend would that believes no more
// than it must. One that is not whole yet is short.
func readRequest(b []byte) (*message, int, error) {
	m, n, err := readHead(b)
	if m == nil {
		return nil, 0, err
	}
	parts := strings.Split(m.start, " ")
	switch {
	case len(parts) != 3 || !isToken(parts[0]) || parts[2] != "HTTP/1.1":
		return nil, 0, fmt.Errorf("the request line %q", m.start)
	case parts[1] != "*" && parts[1][:1] != "/":
		return nil, 0, fmt.Errorf("the target %q", parts[1])
	case strings.ContainsFunc(parts[1], func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '#' }):
		return nil, 0, fmt.Errorf("the target %q has a byte that must be encoded", parts[1])
	case len(m.get("Host")) != 1:
		return nil, 0, fmt.Errorf("%d Host fields in %q", len(m.get("Host")), m.head)
	case len(m.get("Keep-Alive"))+len(m.get("Proxy-Connection")) > 0:
		return nil, 0, fmt.Errorf("a field of one hop in %q", m.head)
	case len(m.get("Upgrade")) > 0 != m.lists("Connection", "upgrade"), len(m.get("TE")) > 0 != m.lists("Connection", "TE"):
		return nil, 0, fmt.Errorf("Upgrade or TE that Connection does not name, or the reverse, in %q", m.head)
	}
	// Who takes '_' for '-' must not find a second framing, or a field that
	// poses as one of the host's.
	for _, f := range m.fields {
		name := strings.ToLower(f[0])
		plain := strings.ReplaceAll(name, "_", "-")
		if name != plain && (strings.HasPrefix(plain, "ms-aspnetcore") || strings.HasPrefix(plain, "x-forwarded") ||
			slices.Contains([]string{"content-length", "transfer-encoding", "host", "connection", "forwarded"}, plain)) {
			return nil, 0, fmt.Errorf("the field %q", f[0])
		}
		if strings.HasPrefix(name, "ms-aspnetcore") && name != "ms-aspnetcore-token" {
			return nil, 0, fmt.Errorf("the field %q", f[0])
		}
	}
	if len(m.get("MS-ASPNETCORE-TOKEN")) != 1 || len(m.get("X-Forwarded-For")) != 1 || len(m.get("X-Forwarded-Proto")) != 1 {
		return nil, 0, fmt.Errorf("the host's own fields are not there once each in %q", m.head)
	}
	k, whole, err := m.readBody(b[n:])
	m.short = !whole
	return m, n + k, err
}

// readResponse takes a response off b; head says that it answers HEAD, eof
// that b will not grow any more. Without error and message, b must grow.
func readResponse(b []byte, head, eof bool) (*message, int, error) {
	m, n, err := readHead(b)
	if m == nil {
		return nil, 0, err
	}
	if len(m.start) < 13 || m.start[:9] != "HTTP/1.1 " || m.start[12] != ' ' || strings.Trim(m.start[9:12], "0123456789") != "" {
		return nil, 0, fmt.Errorf("the status line %q", m.start)
	}
	status := m.status()
	length, chunked, err := m.framing()
	framed := length >= 0 || chunked
	bodiless := head || status < 200 || status == 204 || status == 304
	final := status >= 200
	switch {
	case err != nil:
		return nil, 0, err
	case framed && (status < 200 || status == 204), chunked && bodiless:
		return nil, 0, fmt.Errorf("framing where none may be in %q", m.head)
	case final && len(m.get("Date")) != 1:
		return nil, 0, fmt.Errorf("%d Date fields in %q", len(m.get("Date")), m.head)
	case len(m.get("Keep-Alive"))+len(m.get("Proxy-Connection"))+len(m.get("Connection")) > 1:
		return nil, 0, fmt.Errorf("fields of one hop in %q", m.head)
	case len(m.get("MS-ASPNETCORE-TOKEN")) > 0:
		return nil, 0, fmt.Errorf("the token in %q", m.head)
	}
	if bodiless {
		return m, n, nil
	}
	if !framed {
		if !m.lists("Connection", "close") {
			return nil, 0, fmt.Errorf("a body without an end in %q", m.head)
		}
		if !eof {
			return nil, 0, nil
		}
		m.body = bytes.Clone(b[n:])
		return m, len(b), nil
	}
	k, whole, err := m.readBody(b[n:])
	if err != nil || !whole && !eof {
		return nil, 0, err
	}
	m.short = !whole
	return m, n + k, nil
}
