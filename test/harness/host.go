package harness

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// markName is a variable in the environment of every host. Applications
// inherit it, so a process that outlived its host is recognised by it.
const markName = "TEST_HOST_MARK"

// Run is how a host is started. The zero value serves Dir on a free port of
// 127.0.0.1.
type Run struct {
	Dir    string
	Config string   // an applicationHost.config, in place of Dir and Listen
	Lines  int      // URLs that it prints then
	Flags  []string // behind `perch run DIR`
	Env    []string // added to the environment of this process, NAME=value
	Listen []string // URLs; nil is http://127.0.0.1:0
	Cwd    string   // working directory of the host; "" is Dir
	UID    uint32   // user and group of the host, 0 is the user of the test
	Binary string   // "" is Binary()
	Roots  string   // PEM file of whom the client trusts; "" is the host's own development certificate
}

// Host is a running perch.
type Host struct {
	URL  string   // the first listening URL, without a slash at its end
	URLs []string // all of them, in the order of the lines on stdout
	Pid  int
	Dir  string // that it serves

	http2 bool // requests are made over HTTP/2
	t     testing.TB
	*shared
}

// shared is the process behind a Host and its copies for subtests.
type shared struct {
	cmd    *exec.Cmd
	mark   string
	began  time.Time
	client *http.Client // of HTTP/1.1
	second *http.Client // of HTTP/2
	stdout lines
	stderr lines
	done   chan struct{} // closed when the process has been waited for
	roots  string        // PEM file of whom the client trusts
	trust  *tls.Config   // of the client

	mu   sync.Mutex
	seen map[process]bool // all that was ever found in the tree
}

// Start runs a host and returns when it has printed its URLs. The test fails
// if it ends before. When the test ends the host is stopped, if the test has
// not done so, and nothing of it may be left. If the process of the test is
// killed, so is the host.
func Start(t testing.TB, r Run) *Host {
	t.Helper()
	h := launch(t, r)
	want := max(1, len(r.Listen), r.Lines)
	poll(Limit, func() bool { return len(h.stdout.complete()) >= want || h.Exited() })
	h.URLs = h.stdout.complete()
	if len(h.URLs) < want {
		t.Fatalf("perch run printed %q, want %d listening URLs", h.URLs, want)
	}
	h.URL = strings.TrimSuffix(h.URLs[0], "/")
	h.trust.RootCAs = h.Pool()
	return h
}

// Pool holds whom clients of the host have to trust.
func (h *Host) Pool() *x509.CertPool {
	h.t.Helper()
	pool := x509.NewCertPool()
	if data, err := os.ReadFile(h.roots); err == nil {
		pool.AppendCertsFromPEM(data)
	}
	return pool
}

// Over returns the same host with one of its URLs in place of the first.
func (h *Host) Over(url string) *Host {
	return &Host{URL: strings.TrimSuffix(url, "/"), URLs: h.URLs, Pid: h.Pid, t: h.t, shared: h.shared}
}

// Roots is a PEM file of the same.
func (h *Host) Roots() string { return h.roots }

// Refused runs a host that must not start, and returns what it wrote to
// stderr and its exit code.
func Refused(t testing.TB, r Run) (stderr string, code int) {
	t.Helper()
	h := launch(t, r)
	code = h.Wait()
	if out := h.Stdout(); out != "" {
		t.Errorf("stdout %q, want nothing", out)
	}
	return h.Stderr(), code
}

// launch starts the process and sees to its end.
func launch(t testing.TB, r Run) *Host {
	t.Helper()
	h := &Host{Dir: r.Dir, t: t, shared: &shared{mark: rand.Text(), began: time.Now(), done: make(chan struct{}), seen: map[process]bool{}}}
	args := []string{"run", r.Dir}
	listen := r.Listen
	if listen == nil {
		listen = []string{"http://127.0.0.1:0"}
	}
	if r.Config != "" {
		args, listen = []string{"run", "--config", r.Config}, nil
	}
	for _, u := range listen {
		args = append(args, "--listen", u)
	}
	binary := r.Binary
	if binary == "" {
		binary = Binary()
	}
	h.cmd = exec.Command(binary, append(args, r.Flags...)...)
	h.cmd.Dir = r.Cwd
	if h.cmd.Dir == "" {
		h.cmd.Dir = r.Dir
	}
	data := t.TempDir() // where the host keeps its development certificate
	if h.roots = r.Roots; h.roots == "" {
		h.roots = filepath.Join(data, "perch", "development-ca.pem")
	}
	h.cmd.Env = append(append(environ(), "XDG_DATA_HOME="+data), append(r.Env, markName+"="+h.mark)...)
	h.cmd.Stdout, h.cmd.Stderr = &h.stdout, &h.stderr
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if r.UID != 0 {
		h.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: r.UID, Gid: r.UID}
	}
	h.trust = &tls.Config{}
	h.client, h.second = h.newClient(false), h.newClient(true)
	started := make(chan error)
	go func() {
		// The host is killed when the thread ends that has started it: this one
		// is kept for as long as the host runs.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := h.cmd.Start()
		if started <- err; err == nil {
			h.cmd.Wait()
			close(h.done)
		}
	}()
	if err := <-started; err != nil {
		t.Fatalf("start perch: %v", err)
	}
	h.Pid = h.cmd.Process.Pid
	t.Cleanup(h.finish)
	return h
}

// environ is the environment of this process without what would change a host.
func environ() []string {
	return slices.DeleteFunc(os.Environ(), func(e string) bool {
		for _, p := range []string{"PERCH_", "ASPNETCORE_", "DOTNET_", "ANCM_", "APP_", "PORT=", "NOTIFY_SOCKET=", "LISTEN_"} {
			if strings.HasPrefix(e, p) {
				return true
			}
		}
		return false
	})
}

// finish runs at the end of the test.
func (h *Host) finish() {
	if !h.Exited() {
		h.Stop()
	}
	h.client.CloseIdleConnections()
	h.second.CloseIdleConnections()
	h.checkNothingLeft()
	if h.t.Failed() {
		h.t.Logf("perch, pid %d, wrote to stderr:\n%s", h.Pid, h.Stderr())
	}
}

// Exited reports whether the host has ended.
func (h *Host) Exited() bool {
	select {
	case <-h.done:
		return true
	default:
		return false
	}
}

// Wait returns the exit code once the host has ended, which must be within
// Limit; -1 stands for a signal.
func (h *Host) Wait() int {
	h.t.Helper()
	select {
	case <-h.done:
	case <-time.After(Limit):
		h.cmd.Process.Kill()
		<-h.done
		h.t.Errorf("perch did not end within %v and was killed", Limit)
	}
	return h.cmd.ProcessState.ExitCode()
}

// Stop asks the host to drain and stop and returns its exit code.
func (h *Host) Stop() int {
	h.t.Helper()
	h.Tree()
	h.Signal(syscall.SIGTERM)
	return h.Wait()
}

// Kill9 kills the host without a word.
func (h *Host) Kill9() {
	h.t.Helper()
	h.Tree()
	h.Signal(syscall.SIGKILL)
	h.Wait()
}

// Signal sends a signal to the host alone.
func (h *Host) Signal(s os.Signal) {
	h.t.Helper()
	if err := h.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		h.t.Fatalf("signal %v: %v", s, err)
	}
}

// Insist sends a signal to stop until the host has ended: one that comes right
// after the first says nothing new.
func (h *Host) Insist(s os.Signal) int {
	h.t.Helper()
	Eventually(h.t, func() bool { h.Signal(s); return h.Exited() }, "the host ends")
	return h.Wait()
}

// Stderr is what the host has written there up to now.
func (h *Host) Stderr() string { return h.stderr.text() }

// Stdout is what the host has written there up to now.
func (h *Host) Stdout() string { return h.stdout.text() }

// AwaitStderr waits until the host has written all the texts to stderr.
func (h *Host) AwaitStderr(texts ...string) {
	h.t.Helper()
	for _, text := range texts {
		Eventually(h.t, func() bool { return strings.Contains(h.Stderr(), text) }, "stderr contains %q", text)
	}
}

// Addr is host:port of the first URL.
func (h *Host) Addr() string {
	u, err := url.Parse(h.URL)
	if err != nil {
		h.t.Fatalf("listening URL: %v", err)
	}
	return u.Host
}

// HTTP2 returns the same host for requests and WebSockets over HTTP/2, on clear
// connections with prior knowledge. Raw connections stay as they are.
func (h *Host) HTTP2() *Host {
	c := *h
	c.http2 = true
	return &c
}

// Client makes the requests of the host.
func (h *Host) Client() *http.Client {
	if h.http2 {
		return h.second
	}
	return h.client
}

// Scheme is that of the first URL.
func (h *Host) Scheme() string {
	scheme, _, _ := strings.Cut(h.URL, ":")
	return scheme
}

// newClient returns a client that follows nothing, decodes nothing and comes
// from 127.0.0.1. It speaks one version of HTTP alone.
func (h *Host) newClient(http2 bool) *http.Client {
	var protocols http.Protocols
	protocols.SetHTTP1(!http2)
	protocols.SetHTTP2(http2)
	protocols.SetUnencryptedHTTP2(http2)
	return &http.Client{
		Timeout: 4 * Limit, // of a whole exchange, which may be one of many megabytes
		Transport: &http.Transport{
			Protocols:          &protocols,
			TLSClientConfig:    h.trust,
			DisableCompression: true,
			MaxIdleConns:       0,
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				d := net.Dialer{Timeout: Limit}
				return d.DialContext(ctx, network, addr)
			},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// lines is an output stream of a process as it grows.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// complete returns the lines that have ended.
func (l *lines) complete() []string {
	var all []string
	in := bufio.NewReader(strings.NewReader(l.text()))
	for {
		line, err := in.ReadString('\n')
		if err == io.EOF {
			return all
		}
		all = append(all, strings.TrimRight(line, "\r\n"))
	}
}

// Command runs perch to its end and returns what it wrote and its exit code.
func Command(t testing.TB, dir string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	return CommandEnv(t, dir, nil, args...)
}

// CommandEnv is Command with additions to the environment.
func CommandEnv(t testing.TB, dir string, env []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, Binary(), args...)
	cmd.Dir = dir
	cmd.Env = append(environ(), env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.WaitDelay = Limit
	err := cmd.Run()
	if ctx.Err() != nil {
		t.Fatalf("perch %s did not end within %v\n%s", strings.Join(args, " "), Limit, errs.String())
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("perch %s: %v", strings.Join(args, " "), err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// Describe says what a response was, for a message of a failed test.
func Describe(status int, body []byte) string {
	const most = 600
	if len(body) > most {
		return fmt.Sprintf("%d, %d bytes: %s...", status, len(body), body[:most])
	}
	return fmt.Sprintf("%d: %s", status, body)
}

// With returns the same host for a subtest: failures belong to t, the end of
// the host still to the test that started it.
func (h *Host) With(t testing.TB) *Host {
	c := *h
	c.t = t
	return &c
}
