package ports

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain lets the test binary be another host that holds a port, or an
// application that listens.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "role:host" {
		r, err := Choose(firstFree, lastFree, nil)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(r.Port)
		time.Sleep(time.Hour)
	}
	os.Exit(m.Run())
}

func TestReservationIsExclusive(t *testing.T) {
	t.Parallel()
	r, err := Choose(firstFree, lastFree, nil)
	if err != nil {
		t.Fatal(err)
	}
	port := r.Port
	if second, err := Choose(port, port, nil); err == nil {
		second.Release()
		t.Error("the port was reserved twice")
	}
	l, err := listenReserved("", port)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	r.Release()
	r.Release()
	again(t, port).Release()
	(*Reservation)(nil).Release()
}

// listenReserved listens on a port that is reserved: the lock is no obstacle
// for who got the port. A child that a parallel test is forking holds a copy
// of the sockets that tried the port, until it executes its program.
func listenReserved(host string, port uint16) (net.Listener, error) {
	deadline := time.Now().Add(patience)
	for {
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(int(port))))
		if err == nil || time.Now().After(deadline) {
			return l, err
		}
		time.Sleep(time.Millisecond)
	}
}

// A port can be in use without a listener.
func TestChooseSkipsBoundPorts(t *testing.T) {
	t.Parallel()
	for name, addr := range map[string]unix.Sockaddr{
		"v4": &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}},
		"v6": &unix.SockaddrInet6{Addr: netip.IPv6Loopback().As16()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port := freePort(t)
			family := unix.AF_INET
			switch a := addr.(type) {
			case *unix.SockaddrInet4:
				a.Port = int(port)
			case *unix.SockaddrInet6:
				a.Port, family = int(port), unix.AF_INET6
			}
			fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Skip(err)
			}
			defer unix.Close(fd)
			if err := unix.Bind(fd, addr); err != nil {
				t.Skip(err)
			}
			if r, err := Choose(port, port, nil); err == nil {
				r.Release()
				t.Errorf("chose %d, which is bound", port)
			}
		})
	}
}

// Another host's reservation counts, and ends with that host.
func TestReservationOfAnotherProcess(t *testing.T) {
	t.Parallel()
	host := exec.Command(os.Args[0], "role:host")
	out, err := host.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	defer host.Process.Kill()
	in := bufio.NewScanner(out)
	in.Scan()
	number, err := strconv.Atoi(in.Text())
	if err != nil {
		t.Fatalf("the other host says %q", in.Text())
	}
	port := uint16(number)
	if r, err := Choose(port, port, nil); err == nil {
		r.Release()
		t.Error("two hosts reserved one port")
	}
	if err := host.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = host.Wait()
	again(t, port).Release()
}

// patience is for what other processes and threads do.
const patience = 20 * time.Second

// again reserves a port that was given back. A child that a parallel test is
// forking holds a copy of the lock until it executes its program.
func again(t *testing.T, port uint16) *Reservation {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		r, err := Choose(port, port, nil)
		if err == nil {
			return r
		}
		if time.Now().After(deadline) {
			t.Fatalf("a port that was given back: %v", err)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestChooseManyAtOnce(t *testing.T) {
	t.Parallel()
	const n = 50
	type outcome struct {
		r   *Reservation
		err error
	}
	all := make(chan outcome)
	for range n {
		go func() {
			r, err := Choose(19100, 19299, nil)
			all <- outcome{r, err}
		}()
	}
	seen := make(map[uint16]bool)
	for range n {
		o := <-all
		if o.err != nil {
			t.Error(o.err)
			continue
		}
		defer o.r.Release()
		if seen[o.r.Port] {
			t.Errorf("port %d was chosen twice", o.r.Port)
		}
		seen[o.r.Port] = true
	}
}

// listen opens a listener and returns what the kernel should tell of it.
func listen(t *testing.T, network, addr string) Listener {
	t.Helper()
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Skipf("cannot listen on %s: %v", addr, err)
	}
	t.Cleanup(func() { l.Close() })
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	bound := l.Addr().(*net.TCPAddr).AddrPort()
	want := Listener{
		Addr:   netip.AddrPortFrom(bound.Addr().Unmap(), bound.Port()),
		V6Only: bound.Addr().Is6() && !bound.Addr().Is4In6(),
		Inode:  st.Ino, UID: uint32(os.Geteuid()),
	}
	if network == "tcp" && bound.Addr() == netip.IPv6Unspecified() {
		want.V6Only = false
	}
	return want
}

func TestListeners(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, network, addr, loopback string }{
		{"loopback", "tcp", "127.0.0.1:0", "127.0.0.1"},
		{"another-loopback", "tcp", "127.0.0.9:0", "127.0.0.9"},
		{"wildcard", "tcp4", "0.0.0.0:0", "127.0.0.1"},
		{"dual", "tcp", "[::]:0", "127.0.0.1"},
		{"v6only", "tcp6", "[::]:0", "::1"},
		{"v6-loopback", "tcp6", "[::1]:0", "::1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := listen(t, c.network, c.addr)
			// A connection to it is no listener.
			if conn, err := net.Dial("tcp", netip.AddrPortFrom(netip.MustParseAddr(c.loopback), want.Addr.Port()).String()); err == nil {
				defer conn.Close()
			} else {
				t.Error(err)
			}
			only := func(port uint16) bool { return port == want.Addr.Port() }
			// Another process may have the port of another address.
			elsewhere := func(l Listener) bool {
				return l.Addr.Addr() != want.Addr.Addr() && l.Addr.Addr().String() != c.loopback
			}
			got, err := Listeners(only)
			got = slices.DeleteFunc(got, elsewhere)
			if err != nil || !slices.Equal(got, []Listener{want}) {
				t.Errorf("got %+v, %v; want %+v", got, err, want)
			}
			reach, ok := want.Loopback()
			if !ok || reach.Addr().String() != c.loopback || reach.Port() != want.Addr.Port() {
				t.Errorf("reached at %v, %v; want %s", reach, ok, c.loopback)
			}
			// The tables do not tell whether an IPv6 wildcard takes IPv4.
			weaker := want
			weaker.V6Only = want.Addr.Addr().Is6()
			got, err = tables(only)
			got = slices.DeleteFunc(got, elsewhere)
			if err != nil || !slices.Equal(got, []Listener{weaker}) {
				t.Errorf("tables: got %+v, %v; want %+v", got, err, weaker)
			}
			pid, err := Owner(want, []int{1, os.Getpid()})
			if pid != os.Getpid() && pid != 1 || err != nil {
				t.Errorf("owner %d, %v; want %d", pid, err, os.Getpid())
			}
		})
	}
}

func TestLoopbackOfOthers(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"10.0.0.5:80", "[2001:db8::1]:80", "[fe80::1]:80"} {
		if got, ok := (Listener{Addr: netip.MustParseAddrPort(addr)}).Loopback(); ok {
			t.Errorf("%s is reached at %v", addr, got)
		}
	}
}

func TestOwnerAndHeld(t *testing.T) {
	t.Parallel()
	// Started before the sockets are opened: it cannot have inherited them.
	other := exec.Command("sleep", "1000")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { other.Process.Kill(); other.Wait() }()
	a, b := listen(t, "tcp", "127.0.0.1:0"), listen(t, "tcp", "127.0.0.1:0")
	if pid, err := Owner(a, []int{other.Process.Pid}); !errors.Is(err, ErrNotOwner) || pid != 0 {
		t.Errorf("owner %d, %v; want ErrNotOwner", pid, err)
	}
	if _, err := Owner(a, []int{1 << 30}); !errors.Is(err, ErrNotOwner) {
		t.Errorf("a process that does not exist: %v, want ErrNotOwner", err)
	}
	if pid, err := Owner(Listener{PID: 7}, []int{6, 7}); pid != 7 || err != nil {
		t.Errorf("owner told by the system: %d, %v", pid, err)
	}
	if _, err := Owner(Listener{PID: 8}, []int{6, 7}); !errors.Is(err, ErrNotOwner) {
		t.Errorf("a stranger told by the system: %v, want ErrNotOwner", err)
	}
	held, err := Held([]int{os.Getpid()})
	if err != nil || !slices.Contains(held, a) || !slices.Contains(held, b) {
		t.Errorf("held %+v, %v; want %+v and %+v among them", held, err, a, b)
	}
	if held, err := Held([]int{other.Process.Pid}); err != nil || len(held) != 0 {
		t.Errorf("held by another process: %+v, %v", held, err)
	}
}

// The other process is of another user here, so its files are closed to us.
func TestOwnerThatDoesNotLetItselfBeLookedAt(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	a := listen(t, "tcp", "127.0.0.1:0")
	result := make(chan error)
	var pid int
	go func() {
		// Not unlocked: the thread, which loses its rights, ends with the goroutine.
		runtime.LockOSThread()
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, 65534, 65534, 65534); errno != 0 {
			result <- errno
			return
		}
		var err error
		pid, err = Owner(a, []int{1})
		result <- err
	}()
	if err := <-result; !errors.Is(err, os.ErrPermission) || pid != 1 {
		t.Errorf("got %d, %v; want 1 and a permission error", pid, err)
	}
}

func TestWatchRealListener(t *testing.T) {
	t.Parallel()
	w := NewWatch()
	r, err := Choose(firstFree, lastFree, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	port := r.Port
	self := func() ([]int, error) { return []int{os.Getpid()}, nil }
	opened := make(chan time.Time, 1)
	asked := make(chan struct{}, 1)
	query := w.query
	w.query = func(want func(uint16) bool) ([]Listener, error) {
		select {
		case asked <- struct{}{}:
		default:
		}
		return query(want)
	}
	go func() {
		<-asked
		<-asked
		l, err := listenReserved("127.0.0.1", port)
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { l.Close() })
		opened <- time.Now()
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	l, pid, err := w.Wait(ctx, port, self)
	if err != nil || pid != os.Getpid() || l.Addr.String() != "127.0.0.1:"+strconv.Itoa(int(port)) {
		t.Fatalf("got %+v, %d, %v", l, pid, err)
	}
	t.Logf("noticed after %v", time.Since(<-opened))
}

func FuzzParseDiag(f *testing.F) {
	f.Add([]byte{})
	f.Add(record(unix.AF_INET, 7))
	f.Add(record(unix.AF_INET6, 7))
	f.Add([]byte{20, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		list, _, err := parseDiag(nil, b, func(uint16) bool { return true })
		if err == nil && len(list) > len(b)/answerLen {
			t.Errorf("%d listeners in %d bytes", len(list), len(b))
		}
	})
}

// record is one message of a dump: 16 bytes of header, 72 of socket and an
// attribute that says "not only IPv6".
func record(family byte, port byte) []byte {
	b := make([]byte, 16+answerLen+8)
	b[0], b[4] = byte(len(b)), unix.SOCK_DIAG_BY_FAMILY
	b[16], b[17], b[21] = family, stateListen, port
	b[16+answerLen], b[16+answerLen+2] = 5, attrV6Only
	return b
}

func TestParseDiag(t *testing.T) {
	t.Parallel()
	all := func(uint16) bool { return true }
	done := []byte{20, 0, 0, 0, unix.NLMSG_DONE, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	two := append(append(record(unix.AF_INET, 7), record(unix.AF_INET6, 8)...), done...)
	list, complete, err := parseDiag(nil, two, all)
	want := []Listener{{Addr: netip.MustParseAddrPort("0.0.0.0:7")}, {Addr: netip.MustParseAddrPort("[::]:8")}}
	if err != nil || !complete || !slices.Equal(list, want) {
		t.Errorf("got %+v, %v, %v; want %+v", list, complete, err, want)
	}
	mapped := record(unix.AF_INET6, 7)
	copy(mapped[16+8:], []byte{10: 0xff, 11: 0xff, 12: 127, 15: 1})
	want = []Listener{{Addr: netip.MustParseAddrPort("127.0.0.1:7")}}
	if list, _, err := parseDiag(nil, mapped, all); err != nil || !slices.Equal(list, want) {
		t.Errorf("got %+v, %v; want %+v", list, err, want)
	}
	refused := slices.Clone(done)
	refused[4] = unix.NLMSG_ERROR
	copy(refused[16:], []byte{0xff, 0xff, 0xff, 0xff}) // -1
	if _, _, err := parseDiag(nil, refused, all); !errors.Is(err, syscall.EPERM) {
		t.Errorf("got %v, want EPERM", err)
	}
	for cut := 1; cut < len(two)-len(done); cut += 7 {
		if list, complete, _ := parseDiag(nil, two[:cut], all); complete || len(list) > 1 {
			t.Errorf("cut after %d bytes: %+v, %v", cut, list, complete)
		}
	}
}

func TestParseTableLine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		line string
		want Listener
		ok   bool
	}{
		{"   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 12345 1 0000000000000000 100 0 0 10 0", Listener{Addr: netip.MustParseAddrPort("127.0.0.1:8080"), UID: 1000, Inode: 12345}, true},
		{"   0: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 99 1 0000000000000000 100 0 0 10 0", Listener{Addr: netip.MustParseAddrPort("[::1]:8080"), V6Only: true, Inode: 99}, true},
		{"   0: 0000000000000000FFFF00000100007F:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 99 1 0000000000000000 100 0 0 10 0", Listener{Addr: netip.MustParseAddrPort("127.0.0.1:8080"), Inode: 99}, true},
		{"   1: 0100007F:1F90 0100007F:A000 01 00000000:00000000 00:00000000 00000000  1000        0 12345 1 0000000000000000 100 0 0 10 0", Listener{}, false},
		{"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode", Listener{}, false},
		{"   0: 0100007F 0 0A 0 0 0 0 0 0", Listener{}, false},
		{"   0: 01007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 12345 1", Listener{}, false},
	} {
		if got, ok := parseTableLine([]byte(c.line)); got != c.want || ok != c.ok {
			t.Errorf("%s: got %+v, %v; want %+v, %v", strings.TrimSpace(c.line)[:20], got, ok, c.want, c.ok)
		}
	}
}

func FuzzParseTableLine(f *testing.F) {
	f.Add([]byte("   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 12345 1 0"))
	f.Fuzz(func(t *testing.T, line []byte) {
		if l, ok := parseTableLine(line); ok && !l.Addr.IsValid() {
			t.Errorf("%q gave no address", line)
		}
	})
}

func BenchmarkListeners(b *testing.B) {
	none := func(uint16) bool { return false }
	b.Run("netlink", func(b *testing.B) {
		for b.Loop() {
			if _, err := diag(none); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("tables", func(b *testing.B) {
		for b.Loop() {
			if _, err := tables(none); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkChoose(b *testing.B) {
	for b.Loop() {
		r, err := Choose(10000, 48000, nil)
		if err != nil {
			b.Fatal(err)
		}
		r.Release()
	}
}

func BenchmarkOwner(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	list, err := Listeners(func(p uint16) bool { return int(p) == port })
	if err != nil || len(list) != 1 {
		b.Fatal(list, err)
	}
	for b.Loop() {
		if _, err := Owner(list[0], []int{os.Getpid()}); err != nil {
			b.Fatal(err)
		}
	}
}
