package tls

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/perchserver/perch/test/harness"
)

// browser prepares a headless Chromium that trusts what is in the home folder.
// Rules say which names are where; *.localhost it finds itself. It starts with
// the first tab; the function that is returned opens one.
func browser(t *testing.T, home, rules string, flags ...string) func(*testing.T) *tab {
	t.Helper()
	program := harness.FindTool(t, "chromium-headless-shell")
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program.Path), chromedp.NoSandbox,
		chromedp.Env(append(program.Env, "HOME="+home, "XDG_CACHE_HOME="+home, "XDG_CONFIG_HOME="+home)...),
		chromedp.Flag("host-resolver-rules", rules))
	for _, f := range flags {
		options = append(options, chromedp.Flag(f, true))
	}
	ctx, end := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(end)
	window, closeWindow := chromedp.NewContext(ctx)
	t.Cleanup(closeWindow)
	start := sync.OnceValue(func() error { return chromedp.Do(window) })
	return func(t *testing.T) *tab {
		t.Helper()
		if err := start(); err != nil {
			t.Fatalf("Chromium does not start: %v", err)
		}
		ctx, shut := chromedp.NewContext(window)
		t.Cleanup(shut)
		ctx, cancel := context.WithTimeout(ctx, harness.Limit)
		t.Cleanup(cancel)
		return &tab{t, ctx}
	}
}

// home makes a home folder with a database of whom to trust, as browsers do
// themselves when they are first started, and lets `perch trust` put the host's
// development authority into it, beside others. The store of the system is out
// of its sight: a test leaves it alone.
func home(t *testing.T, h *harness.Host, others ...*authority) string {
	t.Helper()
	home := t.TempDir()
	db := filepath.Join(home, ".pki", "nssdb")
	if err := os.MkdirAll(db, 0o700); err != nil {
		t.Fatal(err)
	}
	certutil := harness.FindTool(t, "certutil")
	certutil.Run(t, "-N", "-d", "sql:"+db, "--empty-password")
	for _, a := range others {
		certutil.Run(t, "-A", "-d", "sql:"+db, "-t", "C,,", "-n", "test", "-i", a.path)
	}

	path := t.TempDir()
	if err := os.Symlink(certutil.Path, filepath.Join(path, "certutil")); err != nil {
		t.Fatal(err)
	}
	out, errs, code := harness.CommandEnv(t, path, append(certutil.Env, "PATH="+path, "HOME="+home,
		"XDG_DATA_HOME="+filepath.Dir(filepath.Dir(h.Roots()))), "trust")
	if out != "trusted by browsers: "+db+"\n" || code != 1 || !strings.Contains(errs, "no store of this system is known") {
		t.Fatalf("perch trust: %d, %q, %q", code, out, errs)
	}
	return home
}

// tab is one of a browser.
type tab struct {
	t   *testing.T
	ctx context.Context
}

// handshake returns the status of that of the next WebSocket, once it was made.
func (b *tab) handshake() func() int {
	b.t.Helper()
	status := make(chan int, 1)
	b.listen(func(ev any) {
		if e, ok := ev.(*network.EventWebSocketHandshakeResponseReceived); ok {
			select {
			case status <- int(e.Response.Status):
			default:
			}
		}
	})
	return func() int {
		select {
		case s := <-status:
			return s
		case <-b.ctx.Done():
			return 0
		}
	}
}

// redirects returns the redirections there were up to then: their status, and
// the reason of those that the browser made itself.
func (b *tab) redirects() func() []string {
	b.t.Helper()
	var mu sync.Mutex
	var all []string
	b.listen(func(ev any) {
		e, ok := ev.(*network.EventRequestWillBeSent)
		if !ok || e.RedirectResponse == nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		all = append(all, strings.TrimSpace(fmt.Sprint(e.RedirectResponse.Status, " ", reason(e.RedirectResponse.Headers))))
	})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}

func reason(h network.Headers) string {
	for name, value := range h {
		if strings.EqualFold(name, "Non-Authoritative-Reason") {
			return fmt.Sprint(value)
		}
	}
	return ""
}

func (b *tab) listen(f func(any)) {
	b.t.Helper()
	if err := chromedp.Listen(b.ctx, f); err != nil {
		b.t.Fatal(err)
	}
}

// navigate opens a page, with all that belongs to it.
func (b *tab) navigate(url string) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, chromedp.Navigate(url)); err != nil {
		b.t.Fatalf("%s: %v", url, err)
	}
}

// await evaluates an expression, and if it is a promise, what it promises.
func (b *tab) await(expression string) string {
	b.t.Helper()
	value, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// Chromium refuses whom it has no reason to trust. Were it not so, the visits
// of TestClients would prove nothing.
func TestChromiumRefusesStrangers(t *testing.T) {
	t.Parallel()
	a, stranger := newAuthority(t), newAuthority(t)
	port := free(t)
	config := serverFile(t, map[string]string{
		"mine":     https(port, "mine.test", `sslFlags="1" certificateFile="`+a.file("mine.pem", "mine.test")+`"`),
		"stranger": https(port, "stranger.test", `sslFlags="1" certificateFile="`+stranger.file("stranger.pem", "stranger.test")+`"`),
		"name":     https(port, "name.test", `sslFlags="1" certificateFile="`+a.file("name.pem", "other.test")+`"`),
		"local":    https(port, "shop.localhost", `sslFlags="1"`),
	})
	h := harness.Start(t, harness.Run{Config: config, Lines: 4})
	open := browser(t, home(t, h, a), "MAP *.test 127.0.0.1")
	for host, want := range map[string]string{
		"mine.test": "", "shop.localhost": "", "stranger.test": "ERR_CERT_AUTHORITY_INVALID", "name.test": "ERR_CERT_COMMON_NAME_INVALID",
	} {
		err := chromedp.Do(open(t).ctx, chromedp.Navigate(fmt.Sprintf("https://%s:%d/", host, port)))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", host, err, want)
		}
	}
}

// A browser that came without TLS is sent to https once, and knows from then on.
func TestChromiumStaysWithHTTPS(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	port, clearPort := free(t), free(t)
	config := strict(t, serverFile(t, map[string]string{"shop": https(port, "shop.test", `sslFlags="1" certificateFile="`+a.file("shop.pem", "shop.test")+`"`) +
		fmt.Sprintf(`<binding protocol="http" bindingInformation="127.0.0.1:%d:shop.test" />`, clearPort)}))
	h := harness.Start(t, harness.Run{Config: config, Lines: 2})
	tab := browser(t, home(t, h, a), fmt.Sprintf("MAP shop.test:80 127.0.0.1:%d,MAP shop.test:443 127.0.0.1:%d", clearPort, port))(t)
	redirects := tab.redirects()
	for i, want := range []string{"301", "307 HSTS"} {
		tab.navigate(fmt.Sprintf("http://shop.test/?%d", i))
		if got := tab.await("location.href + ' ' + document.body.textContent"); got != fmt.Sprintf("https://shop.test/?%d shop", i) {
			t.Errorf("%d: %q", i, got)
		}
		if got := redirects(); len(got) != i+1 || got[i] != want {
			t.Errorf("%d: redirected %q, want %q", i, got, want)
		}
	}
}
