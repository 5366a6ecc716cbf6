package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Server answers requests to one host.
type Server struct {
	listener *net.UnixListener
	handle   func(Request) (any, error)
	log      *slog.Logger

	mu     sync.Mutex
	closed bool
	open   map[net.Conn]struct{}

	tasks sync.WaitGroup
}

// Serve opens the socket of this process in a folder, which it makes if it has
// to, and answers what comes by it with what handle returns. handle may be
// called by several goroutines.
func Serve(folder, subject string, handle func(Request) (any, error), log *slog.Logger) (*Server, error) {
	if err := prepare(folder); err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	sweep(folder)
	file := path(folder, subject, os.Getpid())
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) { // of a process that had our number
		return nil, fmt.Errorf("control socket: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: file, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	s := &Server{listener: l, handle: handle, log: log, open: make(map[net.Conn]struct{})}
	s.tasks.Go(s.accept)
	return s, nil
}

// prepare makes the folder, or sees to it that it is ours and nobody else may
// enter it.
func prepare(folder string) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	info, err := os.Lstat(folder)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a folder", folder)
	}
	return private(folder, info)
}

// stale is how old the socket of a host that does not answer has to be to be
// taken for that of one that was killed.
const stale = 10 * time.Second

// sweep removes the sockets that killed hosts have left.
func sweep(folder string) {
	entries, _ := os.ReadDir(folder)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !strings.HasSuffix(e.Name(), suffix) || time.Since(info.ModTime()) < stale {
			continue
		}
		file := filepath.Join(folder, e.Name())
		if c, err := net.DialTimeout("unix", file, time.Second); err == nil {
			c.Close()
		} else if refused(err) {
			os.Remove(file)
		}
	}
}

func (s *Server) accept() {
	for {
		c, err := s.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of descriptors, most likely: it passes
			time.Sleep(100 * time.Millisecond)
			continue
		}
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			c.Close()
			return
		}
		s.open[c] = struct{}{}
		s.tasks.Go(func() { s.serve(c) })
		s.mu.Unlock()
	}
}

// serve answers one request.
func (s *Server) serve(c *net.UnixConn) {
	defer func() {
		c.Close()
		s.mu.Lock()
		delete(s.open, c)
		s.mu.Unlock()
	}()
	if err := allowed(c); err != nil {
		s.log.Warn("a request by the control socket was refused", "err", err)
		return
	}
	s.mu.Lock()
	if !s.closed { // else Close has set it
		c.SetReadDeadline(time.Now().Add(requestTime))
	}
	s.mu.Unlock()
	var request Request
	if err := read(c, maxRequest, &request); err != nil {
		s.log.Debug("a request by the control socket could not be read", "err", err)
		return
	}
	var r reply
	answer, err := s.handle(request)
	if err == nil {
		r.Answer, err = json.Marshal(answer)
	}
	if err != nil {
		r.Error = err.Error()
	}
	c.SetWriteDeadline(time.Now().Add(requestTime))
	if err := json.NewEncoder(c).Encode(r); err != nil {
		s.log.Debug("an answer by the control socket could not be sent", "err", err)
	}
}

// Close removes the socket and waits for the requests that are being answered.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	for c := range s.open {
		c.SetReadDeadline(time.Now()) // who has not asked yet asks in vain
	}
	s.mu.Unlock()
	err := s.listener.Close()
	s.tasks.Wait()
	return err
}
