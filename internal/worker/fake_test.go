package worker

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/worker/spawn"
)

// behaviour is what a fake application does. The zero value listens at once
// and ends as soon as it is asked.
type behaviour struct {
	spawnErr     error
	listenAfter  time.Duration
	neverListens bool
	stranger     error         // somebody else has the port
	exitAfter    time.Duration // 0: does not exit by itself
	exit         spawn.Exit
	output       string
	readOutput   func()           // called by Output
	listens      []netip.AddrPort // what it listens on instead
	child        bool             // a descendant is the listener

	refuseShutdown bool          // answers the shutdown request with something else
	muteShutdown   bool          // leaves the shutdown request unanswered
	deaf           bool          // neither the request nor the signal ends it
	stopTakes      time.Duration // from being asked to the end
}

// fakeMachine is a Machine whose processes follow behaviours. Everything in
// it obeys the fake time of a synctest bubble.
type fakeMachine struct {
	script func(n int) behaviour // of the nth process, from 1; nil: the zero value
	logErr error

	mu       sync.Mutex
	all      []*fakeProcess
	reserved map[uint16]bool
	nextPort uint16
	logs     int // stdout logs open
	opened   int // stdout logs ever opened
	trouble  []string
}

func (m *fakeMachine) ReservePort(want uint16) (uint16, func(), error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if want == 0 {
		m.nextPort++
		want = 10000 + m.nextPort
	}
	if m.reserved[want] {
		return 0, nil, errors.New("the port is taken")
	}
	if m.reserved == nil {
		m.reserved = make(map[uint16]bool)
	}
	m.reserved[want] = true
	return want, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if !m.reserved[want] {
			m.trouble = append(m.trouble, "a port was released twice")
		}
		delete(m.reserved, want)
	}, nil
}

type fakeLog struct{ m *fakeMachine }

func (l fakeLog) Write(p []byte) (int, error) { return len(p), nil }
func (l fakeLog) Close() error {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	l.m.logs--
	return nil
}

func (m *fakeMachine) OpenLog(root, name string, user *spawn.User) (io.WriteCloser, error) {
	if m.logErr != nil {
		return nil, m.logErr
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.logs++
	m.opened++
	return fakeLog{m}, nil
}

func (m *fakeMachine) Spawn(ctx context.Context, l Launch) (Process, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var b behaviour
	n := len(m.all) + 1
	if m.script != nil {
		b = m.script(n)
	}
	p := &fakeProcess{machine: m, launch: l, behaviour: b, pid: 1000 + n, done: make(chan struct{})}
	m.all = append(m.all, p)
	if b.spawnErr != nil {
		p.end(b.exit)
		p.killed = true
		return nil, b.spawnErr
	}
	if b.exitAfter > 0 {
		time.AfterFunc(b.exitAfter, func() { p.end(b.exit) })
	}
	return p, nil
}

func (m *fakeMachine) AwaitListener(ctx context.Context, port uint16, tree func() ([]int, error)) (Listener, error) {
	pids, _ := tree()
	p := m.process(pids[0])
	switch {
	case p.stranger != nil:
		return Listener{}, p.stranger
	case p.neverListens:
		<-ctx.Done()
		return Listener{}, ctx.Err()
	}
	t := time.NewTimer(p.listenAfter)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return Listener{}, ctx.Err()
	case <-t.C:
	}
	l := Listener{Pid: p.pid, Address: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)}
	if p.child {
		l.Pid += 100
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	p.listensNow = l.Pid
	return l, nil
}

func (m *fakeMachine) Listeners(pids []int) ([]Listener, error) {
	p := m.process(pids[0])
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []Listener
	for _, a := range p.listens {
		list = append(list, Listener{Pid: p.pid, Address: a})
	}
	if p.listensNow != 0 {
		list = append(list, Listener{Pid: p.listensNow, Address: netip.AddrPortFrom(netip.IPv4Unspecified(), p.port())})
	}
	return list, nil
}

func (m *fakeMachine) Exited(ctx context.Context, pid int) <-chan struct{} {
	p := m.process((pid-1001)%100 + 1001)
	m.mu.Lock()
	defer m.mu.Unlock()
	gone := make(chan struct{})
	p.childGone = gone
	return gone
}

// endChild ends the descendant that listens; heir, if not 0, listens now.
func (p *fakeProcess) endChild(heir int) {
	p.machine.mu.Lock()
	defer p.machine.mu.Unlock()
	p.listensNow, p.lostListener = heir, p.lostListener || heir == 0
	if p.childGone != nil {
		close(p.childGone)
		p.childGone = nil
	}
}

func (m *fakeMachine) process(pid int) *fakeProcess {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.all[pid-1001]
}

// spawned returns how many processes were started so far.
func (m *fakeMachine) spawned() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.all)
}

// last returns the process that was started last.
func (m *fakeMachine) last() *fakeProcess { return m.process(1000 + m.spawned()) }

// leaks tells what is left of the processes.
func (m *fakeMachine) leaks() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	leaks := m.trouble
	for _, p := range m.all {
		if p.running() || !p.killed {
			leaks = append(leaks, "a process is left")
		}
	}
	if len(m.reserved) > 0 {
		leaks = append(leaks, "a port is left reserved")
	}
	if m.logs != 0 {
		leaks = append(leaks, "a log is left open")
	}
	return leaks
}

type fakeProcess struct {
	behaviour
	machine *fakeMachine
	launch  Launch
	pid     int
	once    sync.Once
	done    chan struct{}
	ended   spawn.Exit

	// Guarded by machine.mu.
	childGone    chan struct{} // the watch of the descendant that listens
	listensNow   int           // pid of the listener
	lostListener bool
	killed       bool
	killedFirst  bool      // and running until then
	asked        time.Time // by the signal
	shutdown     time.Time // by the request
	endedAt      time.Time
	closed       bool // its channel
}

func (p *fakeProcess) end(e spawn.Exit) {
	p.once.Do(func() {
		p.ended, p.endedAt = e, time.Now()
		close(p.done)
	})
}

func (p *fakeProcess) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

func (p *fakeProcess) Pid() int              { return p.pid }
func (p *fakeProcess) Done() <-chan struct{} { return p.done }
func (p *fakeProcess) Exit() spawn.Exit      { return p.ended }
func (p *fakeProcess) Tree() ([]int, error)  { return []int{p.pid}, nil }
func (p *fakeProcess) Close()                {}

func (p *fakeProcess) Output() string {
	if p.readOutput != nil {
		p.readOutput()
	}
	return p.output
}

func (p *fakeProcess) stopLater() {
	if !p.deaf {
		time.AfterFunc(p.stopTakes, func() { p.end(spawn.Exit{}) })
	}
}

func (p *fakeProcess) Ask() error {
	p.machine.mu.Lock()
	p.asked = time.Now()
	p.machine.mu.Unlock()
	p.stopLater()
	return nil
}

func (p *fakeProcess) KillTree(context.Context) error {
	p.machine.mu.Lock()
	p.killedFirst = p.killedFirst || p.running()
	p.killed = true
	p.machine.mu.Unlock()
	p.end(spawn.Exit{Code: -1, Signal: 9})
	return nil
}

// fakeChannel is the channel to a fake process.
type fakeChannel struct {
	Endpoint
	p *fakeProcess
}

func (c *fakeChannel) Serve(*exchange.Exchange) error { return nil }

func (c *fakeChannel) Shutdown(ctx context.Context) error {
	c.p.machine.mu.Lock()
	c.p.shutdown = time.Now()
	c.p.machine.mu.Unlock()
	switch {
	case c.p.muteShutdown:
		<-ctx.Done()
		return ctx.Err()
	case c.p.refuseShutdown:
		return errors.New("answered 404")
	}
	c.p.stopLater()
	return nil
}

func (c *fakeChannel) Close() error {
	c.p.machine.mu.Lock()
	defer c.p.machine.mu.Unlock()
	if c.p.closed {
		c.p.machine.trouble = append(c.p.machine.trouble, "a channel was closed twice")
	}
	c.p.closed = true
	return nil
}

// connect joins channels to the processes of m.
func (m *fakeMachine) connect(e Endpoint) Channel {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.all {
		for _, v := range p.launch.Env {
			if v == "PORT="+e.Address.String()[len("127.0.0.1:"):] && p.running() {
				return &fakeChannel{e, p}
			}
		}
	}
	panic("no process has this port")
}

// testSettings describe an application with a program that can be resolved.
func testSettings(t testing.TB, m *fakeMachine) *Settings {
	t.Helper()
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "app.exe"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	return &Settings{
		Name: "shop", Root: root, ProcessPath: `.\app.exe`, Connect: m.connect,
		StartupTimeLimit: 10 * time.Second, ShutdownTimeLimit: 10 * time.Second, RapidFailsPerMinute: 10,
	}
}

// events records the log of a pool.
type events struct {
	mu   sync.Mutex
	list []map[string]any
}

func (e *events) Enabled(context.Context, slog.Level) bool { return true }
func (e *events) WithAttrs([]slog.Attr) slog.Handler       { return e }
func (e *events) WithGroup(string) slog.Handler            { return e }
func (e *events) Handle(_ context.Context, r slog.Record) error {
	entry := map[string]any{"msg": r.Message}
	r.Attrs(func(a slog.Attr) bool {
		entry[a.Key] = a.Value.Any()
		return true
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, entry)
	return nil
}

// count returns how many entries have this event number.
func (e *events) count(event int) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, entry := range e.list {
		if entry["event"] == int64(event) {
			n++
		}
	}
	return n
}

// find returns the last entry with this event number.
func (e *events) find(event int) map[string]any {
	e.mu.Lock()
	defer e.mu.Unlock()
	var found map[string]any
	for _, entry := range e.list {
		if entry["event"] == int64(event) {
			found = entry
		}
	}
	return found
}

// offlineFile plays app_offline.htm.
type offlineFile struct {
	mu      sync.Mutex
	content []byte
	present bool
	reads   int
}

func (f *offlineFile) put(content string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.content, f.present = []byte(content), true
}

func (f *offlineFile) remove() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.present = false
}

func (f *offlineFile) read() ([]byte, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	return bytes.Clone(f.content), f.present
}

// lookupEnv finds a variable in a block by its exact name.
func lookupEnv(block []string, name string) (string, bool) {
	for _, entry := range block {
		if len(entry) > len(name) && entry[:len(name)] == name && entry[len(name)] == '=' {
			return entry[len(name)+1:], true
		}
	}
	return "", false
}
