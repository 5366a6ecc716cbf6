package sites

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/perchserver/perch/test/harness"
)

// multiplexed is a connection of HTTP/2 with a client that asks for one thing
// after the other, and to which a GOAWAY is a failure.
type multiplexed struct {
	net.Conn
	framer    *http2.Framer
	block     bytes.Buffer
	encoder   *hpack.Encoder
	decoder   *hpack.Decoder
	stream    uint32 // the last
	room      int64  // bytes that may be sent on the connection
	scheme    string
	authority string

	statusOf string // of the last stream
	ended    bool
	data     bytes.Buffer // of the last stream, not read yet
}

// multiplex opens a connection of HTTP/2, with prior knowledge if it is not
// secure.
func (l *load) multiplex(secure bool) (*multiplexed, error) {
	c, err := l.dial(secure, "h2")
	if err != nil {
		return nil, err
	}
	if secure {
		return multiplex(c, "https", "stays.localhost")
	}
	return multiplex(c, "http", "stays.test")
}

// multiplex begins HTTP/2 on a connection.
func multiplex(c net.Conn, scheme, authority string) (*multiplexed, error) {
	m := &multiplexed{Conn: c, framer: http2.NewFramer(c, c), room: 65535, scheme: scheme, authority: authority}
	m.encoder, m.decoder = hpack.NewEncoder(&m.block), hpack.NewDecoder(4096, nil)
	c.SetDeadline(time.Now().Add(harness.Limit))
	const most = 1<<31 - 1
	_, err := io.WriteString(c, http2.ClientPreface)
	err = errors.Join(err,
		m.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: most}),
		m.framer.WriteWindowUpdate(0, most-65535))
	return m, err
}

// open begins a stream.
func (m *multiplexed) open(method, path string, end bool, more ...hpack.HeaderField) error {
	m.block.Reset()
	for _, f := range append([]hpack.HeaderField{
		{Name: ":method", Value: method}, {Name: ":scheme", Value: m.scheme},
		{Name: ":authority", Value: m.authority}, {Name: ":path", Value: path},
	}, more...) {
		m.encoder.WriteField(f)
	}
	m.stream = max(m.stream+2, 1) | 1
	m.statusOf, m.ended = "", false
	m.data.Reset()
	return m.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: m.stream, BlockFragment: m.block.Bytes(), EndHeaders: true, EndStream: end})
}

// send sends a part of a body, less than a stream's first window in all.
func (m *multiplexed) send(p []byte, end bool) error {
	const most = 16 << 10
	for {
		n := min(len(p), most)
		for int64(n) > m.room {
			if err := m.next(); err != nil {
				return err
			}
		}
		m.room -= int64(n)
		if err := m.framer.WriteData(m.stream, end && n == len(p), p[:n]); err != nil || n == len(p) {
			return err
		}
		p = p[n:]
	}
}

// next reads one frame.
func (m *multiplexed) next() error {
	frame, err := m.framer.ReadFrame()
	if err != nil {
		return err
	}
	switch f := frame.(type) {
	case *http2.GoAwayFrame:
		return fmt.Errorf("GOAWAY with %v", f.ErrCode)
	case *http2.RSTStreamFrame:
		return fmt.Errorf("the stream was reset with %v", f.ErrCode)
	case *http2.SettingsFrame:
		if !f.IsAck() {
			return m.framer.WriteSettingsAck()
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			return m.framer.WritePing(true, f.Data)
		}
	case *http2.WindowUpdateFrame:
		if f.StreamID == 0 {
			m.room += int64(f.Increment)
		}
	case *http2.HeadersFrame:
		fields, err := m.decoder.DecodeFull(f.HeaderBlockFragment())
		if err != nil || len(fields) == 0 {
			return fmt.Errorf("a header block: %v", err)
		}
		m.statusOf, m.ended = fields[0].Value, f.StreamEnded()
	case *http2.DataFrame:
		m.data.Write(f.Data())
		m.ended = f.StreamEnded()
		if n := f.Length; n > 0 {
			return m.framer.WriteWindowUpdate(0, n)
		}
	}
	return nil
}

// Read reads what comes on the last stream.
func (m *multiplexed) Read(p []byte) (int, error) {
	for m.data.Len() == 0 {
		if m.ended {
			return 0, io.EOF
		}
		if err := m.next(); err != nil {
			return 0, err
		}
	}
	return m.data.Read(p)
}

// await reads the head of the response on the last stream.
func (m *multiplexed) await() error {
	for m.statusOf == "" {
		if err := m.next(); err != nil {
			return err
		}
	}
	if m.statusOf != "200" {
		text, _ := io.ReadAll(m)
		return fmt.Errorf("status %s, %.200s", m.statusOf, text)
	}
	return nil
}

// ask sends one request and checks the answer.
func (m *multiplexed) ask(path string, body []byte, check func([]byte) error) error {
	m.SetDeadline(time.Now().Add(harness.Limit))
	method := "GET"
	if body != nil {
		method = "POST"
	}
	if err := m.open(method, path, body == nil); err != nil {
		return err
	}
	if body != nil {
		if err := m.send(body, true); err != nil {
			return err
		}
	}
	if err := m.await(); err != nil {
		return err
	}
	got, err := io.ReadAll(m)
	if err != nil {
		return err
	}
	return check(got)
}

// streams asks again and again on one connection.
func (l *load) streams(what string, secure bool, path string, body []byte, check func([]byte) error) {
	m, err := l.multiplex(secure)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { m.Close() })
	l.run(what, func() error { return m.ask(path, body, check) })
}

// freshStream asks on a new connection each time.
func (l *load) freshStream(what string, secure bool, path string, body []byte, check func([]byte) error) {
	l.run(what, func() error {
		m, err := l.multiplex(secure)
		if err != nil {
			return err
		}
		defer m.Close()
		return m.ask(path, body, check)
	})
}

// tunnel echoes on one WebSocket by an extended CONNECT (RFC 8441).
func (l *load) tunnel(what string, secure bool) {
	m, err := l.multiplex(secure)
	if err == nil {
		l.t.Cleanup(func() { m.Close() })
		if err = m.open("CONNECT", "/ws", false, hpack.HeaderField{Name: ":protocol", Value: "websocket"},
			hpack.HeaderField{Name: "sec-websocket-version", Value: "13"}); err == nil {
			err = m.await()
		}
	}
	if err != nil {
		l.t.Fatalf("%s: %v", what, err)
	}
	n := 0
	l.run(what, func() error {
		n++
		m.SetDeadline(time.Now().Add(harness.Limit))
		text := fmt.Appendf(nil, "message %d", n)
		frame := append([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}, text...) // of text, masked with zeros
		if err := m.send(frame, false); err != nil {
			return err
		}
		back := make([]byte, 2+len(text))
		if _, err := io.ReadFull(m, back); err != nil {
			return err
		}
		if binary.BigEndian.Uint16(back) != 0x8100|uint16(len(text)) || !bytes.Equal(back[2:], text) {
			return fmt.Errorf("%q came back as %q", text, back)
		}
		return nil
	})
}

// longStream is a download on a stream.
func (l *load) longStream(what string, secure bool, size int) {
	m, err := l.multiplex(secure)
	if err == nil {
		l.t.Cleanup(func() { m.Close() })
		if err = m.open("GET", fmt.Sprintf("/download?bytes=%d", size), true); err == nil {
			err = m.await()
		}
	}
	if err != nil {
		l.t.Fatalf("%s: %v", what, err)
	}
	l.drink(what, size, m, m)
}
