package spawn

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The operations of the protocol between host and guardian. The host asks
// with an id of its own choice; the answer carries the same id. Spawn's id
// names the tree from then on. opExit comes unasked.
const (
	opBegin  = "begin"  // host: the first message; guardian: ready
	opSpawn  = "spawn"  // host: start Spec; guardian: started, with Pid, or Failed
	opSignal = "signal" // host: send Signal to the group of Tree
	opKill   = "kill"   // host: kill Tree; guardian: nothing is left
	opTree   = "tree"   // host: list Tree; guardian: Pids
	opExit   = "exit"   // guardian: the first process of Tree has ended
)

// message is one frame: four bytes of length, big endian, then JSON. The
// descriptors of a spawn travel with the length.
type message struct {
	Op   string `json:"op"`
	ID   uint64 `json:"id,omitempty"`
	Tree uint64 `json:"tree,omitempty"`

	Spec     *wireSpec `json:"spec,omitempty"`
	NoCgroup bool      `json:"noCgroup,omitempty"`

	Pid    int            `json:"pid,omitempty"`
	Pids   []int          `json:"pids,omitempty"`
	Code   int            `json:"code,omitempty"`
	Signal syscall.Signal `json:"signal,omitempty"`
	Cgroup string         `json:"cgroup,omitempty"` // the guardian's folder; "" when it uses none
	Note   string         `json:"note,omitempty"`   // why it uses none

	Failed *failure      `json:"failed,omitempty"` // of opSpawn
	Errno  syscall.Errno `json:"errno,omitempty"`  // of the others
}

// failure is an Error on the wire.
type failure struct {
	Reason Reason        `json:"reason"`
	Path   []byte        `json:"path"`
	Errno  syscall.Errno `json:"errno"`
}

// wireSpec is a Spec on the wire. Text is in bytes because JSON would replace
// what is not UTF-8. Of the two files only their presence is told.
type wireSpec struct {
	Path   []byte `json:"path"`
	Args   []byte `json:"args"` // packed
	Env    []byte `json:"env"`  // packed
	Dir    []byte `json:"dir"`
	Mark   []byte `json:"mark,omitempty"`
	User   *User  `json:"user,omitempty"`
	Stdout bool   `json:"stdout,omitempty"`
	Stderr bool   `json:"stderr,omitempty"`
}

func toWire(s *Spec) *wireSpec {
	return &wireSpec{
		Path: []byte(s.Path), Args: pack(s.Args), Env: pack(s.Env), Dir: []byte(s.Dir),
		Mark: []byte(s.Mark), User: s.User, Stdout: s.Stdout != nil, Stderr: s.Stderr != nil,
	}
}

// pack joins strings that hold no zero byte.
func pack(list []string) []byte {
	var b []byte
	for _, s := range list {
		b = append(append(b, s...), 0)
	}
	return b
}

// unpack is the inverse of pack.
func unpack(b []byte) []string {
	var list []string
	for len(b) > 0 {
		item, rest, _ := bytes.Cut(b, []byte{0})
		list = append(list, string(item))
		b = rest
	}
	return list
}

const (
	// maxFrame bounds a frame. Linux takes at most 2 MiB of arguments and
	// environment with default limits; base64 makes that 2.7.
	maxFrame = 8 << 20

	// sendLimit bounds how long a frame may wait for a reader that does not
	// read. What was cut short leaves the link useless.
	sendLimit = 10 * time.Second
)

// errTooBig refuses a frame before any of it was sent.
var errTooBig = errors.New("arguments and environment are too long")

// link is one end of the control socket. One goroutine may receive while any
// number send.
type link struct {
	conn *net.UnixConn
	mu   sync.Mutex // held while a frame is written
}

// newLink takes over f, a connected stream socket.
func newLink(f *os.File) (*link, error) {
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := conn.(*net.UnixConn)
	if !ok {
		conn.Close()
		return nil, fmt.Errorf("the control socket is a %T", conn)
	}
	return &link{conn: u}, nil
}

// send writes one frame; files travel with it and stay the caller's.
func (l *link) send(m message, files ...*os.File) error {
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if len(body) > maxFrame {
		return fmt.Errorf("%w: %d bytes", errTooBig, len(body))
	}
	var oob []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		oob = unix.UnixRights(fds...)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.conn.SetWriteDeadline(time.Now().Add(sendLimit)); err != nil {
		return err
	}
	var head [4]byte
	binary.BigEndian.PutUint32(head[:], uint32(len(body)))
	n, _, err := l.conn.WriteMsgUnix(head[:], oob, nil)
	runtime.KeepAlive(files)
	if err != nil {
		return err
	}
	if n < len(head) {
		return io.ErrShortWrite
	}
	_, err = l.conn.Write(body)
	return err
}

// receive reads one frame and the descriptors that came with it, which are
// closed on exec and the caller's to close. io.EOF is the end of the link.
func (l *link) receive() (message, []*os.File, error) {
	var head [4]byte
	oob := make([]byte, unix.CmsgSpace(2*4))
	n, oobn, _, _, err := l.conn.ReadMsgUnix(head[:], oob)
	if err != nil {
		return message{}, nil, err
	}
	if n == 0 {
		return message{}, nil, io.EOF
	}
	files, err := rights(oob[:oobn])
	if err == nil {
		_, err = io.ReadFull(l.conn, head[n:])
	}
	var m message
	if err == nil {
		m, err = l.body(binary.BigEndian.Uint32(head[:]))
	}
	if err != nil {
		closeAll(files)
		return message{}, nil, fmt.Errorf("receive a frame: %w", err)
	}
	return m, files, nil
}

func (l *link) body(size uint32) (message, error) {
	var m message
	if size > maxFrame {
		return m, fmt.Errorf("%d bytes are too many", size)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(l.conn, body); err != nil {
		return m, err
	}
	return m, json.Unmarshal(body, &m)
}

// rights returns the files of an SCM_RIGHTS control message.
func rights(oob []byte) ([]*os.File, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var files []*os.File
	for i := range msgs {
		fds, err := unix.ParseUnixRights(&msgs[i])
		if errors.Is(err, unix.EINVAL) {
			continue // another kind of message
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "passed"))
		}
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
