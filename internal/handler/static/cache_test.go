package static

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/exchange/exchangetest"
)

// large is the content of a file that is not held in memory.
func large(letter string) string { return strings.Repeat(letter, smallFile+1) }

// cached is site with a cache whose time stands still until pass is called.
func cached(t *testing.T, s Settings, files map[string]string) (h *Handler, pass func()) {
	t.Helper()
	s.Files = newCache()
	t.Cleanup(s.Files.Close)
	return site(t, s, files), func() {
		for range lifetime {
			s.Files.sweep()
		}
	}
}

// replace puts a file in the place of another, as old as that was.
func replace(t *testing.T, h *Handler, name, content string) {
	t.Helper()
	full := filepath.Join(h.root, name)
	write(t, full+".new", content, modified)
	if err := os.Rename(full+".new", full); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, name, content string, at time.Time) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Error(err)
	}
	if err := os.Chtimes(name, at, at); err != nil {
		t.Error(err)
	}
}

// body returns what h answers to a GET, or the status of its error.
func body(t *testing.T, h *Handler, target string) string {
	t.Helper()
	r, err := get(t, h, "GET", target)
	if err != nil {
		return fmt.Sprint(err.Status)
	}
	return string(r.Body)
}

// expect fails the test if the answer is another. Contents are long: their
// first bytes tell them apart.
func expect(t *testing.T, h *Handler, target, want, when string) {
	t.Helper()
	if got := body(t, h, target); got != want {
		t.Errorf("%s: GET %s: %d bytes %.8q, want %d bytes %.8q", when, target, len(got), got, len(want), want)
	}
}

// A file is looked up anew when the last time was a second ago, and before
// that every request is answered from what was found.
func TestCacheLooksUpOnceASecond(t *testing.T) {
	t.Parallel()
	h, pass := cached(t, Settings{}, map[string]string{"a.txt": "one", "b.txt": large("1"), "d/index.html": "index"})
	if !staysOpen {
		t.Log("large files are not kept on this system")
	}
	all := map[string]string{"/a.txt": "one", "/d/": "index"}
	if staysOpen {
		all["/b.txt"] = large("1")
	}
	for target, want := range all {
		expect(t, h, target, want, "at first")
	}
	replace(t, h, "a.txt", "two")
	replace(t, h, "b.txt", large("2"))
	write(t, filepath.Join(h.root, "d", "Default.htm"), "default", modified)
	h.files.sweep()
	for target, want := range all {
		expect(t, h, target, want, "half a second later")
	}
	pass()
	expect(t, h, "/a.txt", "two", "a second later")
	expect(t, h, "/b.txt", large("2"), "a second later")
	expect(t, h, "/d/", "default", "a second later")

	for _, name := range []string{"a.txt", "b.txt", "d/Default.htm"} {
		if err := os.Remove(filepath.Join(h.root, name)); err != nil {
			t.Fatal(err)
		}
	}
	pass()
	expect(t, h, "/a.txt", "404", "removed")
	expect(t, h, "/b.txt", "404", "removed")
	expect(t, h, "/d/", "index", "removed")
}

// A cached file is answered like any other.
func TestCacheAnswersTheSame(t *testing.T) {
	t.Parallel()
	files := map[string]string{"a.txt": "0123456789", "b.txt": large("0123456789"), "empty.txt": ""}
	h, _ := cached(t, Settings{}, files)
	plain := site(t, Settings{}, files)
	for _, target := range []string{"/a.txt", "/b.txt", "/empty.txt", "/a.txt/", "/A%2Ftxt"} {
		for _, method := range []string{"GET", "HEAD"} {
			for _, field := range []string{
				"X: none", "Range: bytes=2-4", "Range: bytes=-3", "Range: bytes=999999-", "If-None-Match: " + exampleETag, `If-Match: "other"`,
				"If-Modified-Since: " + exampleDate, "If-Unmodified-Since: Sat, 01 Jan 2000 00:00:00 GMT",
			} {
				want, wantErr := get(t, plain, method, target, field)
				for range 2 {
					got, err := get(t, h, method, target, field)
					if fmt.Sprint(err) != strings.ReplaceAll(fmt.Sprint(wantErr), plain.root, h.root) || got.Head() != want.Head() || got.Length != want.Length || !bytes.Equal(got.Body, want.Body) {
						t.Errorf("%s %s with %s: %s %v\nwant %s %v", method, target, field, got.Head(), err, want.Head(), wantErr)
					}
				}
			}
		}
		for range 2 {
			r, _ := get(t, h, "GET", target, "Range: bytes=0-1,4-5")
			if want, _ := get(t, plain, "GET", target, "Range: bytes=0-1,4-5"); r.Status != want.Status || len(r.Body) != len(want.Body) {
				t.Errorf("%s in parts: %d with %d bytes, want %d with %d", target, r.Status, len(r.Body), want.Status, len(want.Body))
			}
		}
	}
}

// A path is kept for the handler that found it, and only as it was judged.
func TestCacheIsSharedByHandlers(t *testing.T) {
	t.Parallel()
	h, _ := cached(t, Settings{}, map[string]string{"a.txt": "of h", "a%2Fb.txt": "odd name", "a/b.txt": "below"})
	other := site(t, Settings{Files: h.files, HiddenSegments: []string{"b.txt"}}, map[string]string{"a.txt": "of other", "a/b.txt": "hidden"})
	other.salt = h.salt // so that their files meet in one set
	for range 2 {
		expect(t, h, "/a.txt", "of h", "shared")
		expect(t, other, "/a.txt", "of other", "shared")
		expect(t, h, "/a/b.txt", "below", "shared")
		expect(t, other, "/a/b.txt", "404", "shared")
		expect(t, h, "/a%252Fb.txt", "odd name", "decoded")
		expect(t, h, "/a%2Fb.txt", "404", "with a hidden slash")
	}
}

// A file that was written a moment ago may still be written.
func TestCacheWaitsUntilFilesAreAtRest(t *testing.T) {
	t.Parallel()
	h, _ := cached(t, Settings{}, map[string]string{"a.txt": "", "b.txt": ""})
	for _, ago := range []time.Duration{-time.Hour, 0, settled - 1} {
		for n := range 3 {
			small, big := fmt.Sprint(ago, n), large(fmt.Sprint(n))
			write(t, filepath.Join(h.root, "a.txt"), small, exchangetest.Now.Add(-ago))
			write(t, filepath.Join(h.root, "b.txt"), big, exchangetest.Now.Add(-ago))
			expect(t, h, "/a.txt", small, "just written")
			expect(t, h, "/b.txt", big, "just written")
		}
	}
}

// An open file that is written in place is not served under the facts of what
// it was.
func TestCacheSeesWritesInPlace(t *testing.T) {
	t.Parallel()
	h, pass := cached(t, Settings{}, map[string]string{"b.txt": large("1")})
	name := filepath.Join(h.root, "b.txt")
	expect(t, h, "/b.txt", large("1"), "at first")
	for n, content := range []string{large("2"), large("3") + "longer", "short"} {
		write(t, name, content, modified.Add(time.Duration(n+1)*time.Minute))
		expect(t, h, "/b.txt", content, "written in place")
	}
	pass()
	if open := openBelow(t, h.root); open != 0 {
		t.Errorf("%d files are open", open)
	}
}

// shrinking is a driver before which a file gets shorter when its head was
// written.
type shrinking struct {
	*exchangetest.Recorder
	name string
}

func (s shrinking) WriteHead(x *exchange.Exchange) error {
	if err := os.Truncate(s.name, 10); err != nil {
		return err
	}
	return s.Recorder.WriteHead(x)
}

func TestFileTruncatedWhileServedIsAnError(t *testing.T) {
	t.Parallel()
	h, _ := cached(t, Settings{}, map[string]string{"b.txt": large("1"), "a.txt": "a small file"})
	expect(t, h, "/a.txt", "a small file", "at first")
	for name, broken := range map[string]bool{"b.txt": true, "a.txt": false} { // the small one is in memory
		x, r := exchangetest.New("GET", "/"+name)
		x.Response.Writer = shrinking{r, filepath.Join(h.root, name)}
		err := h.Serve(x)
		if (err != nil) != broken || (r.Problem() != nil) != broken {
			t.Errorf("%s: %v after %d of %d bytes", name, err, len(r.Body), r.Length)
		}
	}
}

// Many more files than there is room for: the bound holds, and what had to go
// is closed.
func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	files := make(map[string]string)
	for i := range 2 * maxFiles {
		files[fmt.Sprintf("%d.txt", i)] = large("x")
	}
	h, pass := cached(t, Settings{}, files)
	for name, content := range files {
		expect(t, h, "/"+name, content, "one of many")
	}
	if n := held(h.files); staysOpen && (n < maxFiles/2 || n > maxFiles) {
		t.Errorf("%d files are held, the most is %d", n, maxFiles)
	}
	if open := openBelow(t, h.root); open > maxFiles {
		t.Errorf("%d files are open", open)
	}
	pass()
	if n, open := held(h.files), openBelow(t, h.root); n != 0 || open != 0 {
		t.Errorf("a second later %d files are held, %d are open", n, open)
	}
}

func held(c *Cache) (n int) {
	for i := range c.sets {
		for j := range c.sets[i] {
			if c.sets[i][j].Load() != nil {
				n++
			}
		}
	}
	return n
}

// openBelow counts the descriptors of this process for files below a folder.
// It finds none where the system does not tell.
func openBelow(t *testing.T, dir string) (n int) {
	t.Helper()
	if runtime.GOOS != "linux" {
		return 0
	}
	links, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if to, _ := os.Readlink("/proc/self/fd/" + l.Name()); strings.HasPrefix(to, dir+"/") {
			n++
		}
	}
	return n
}

// Close closes what nobody uses at once, and the rest when it is not used any
// more; afterwards files are served without the cache.
func TestCacheClose(t *testing.T) {
	t.Parallel()
	if !staysOpen {
		t.Log("no file stays open on this system")
	}
	c := NewCache() // with its goroutine
	h := site(t, Settings{Files: c}, map[string]string{"b.txt": large("1"), "c.txt": large("2")})
	expect(t, h, "/b.txt", large("1"), "at first")
	x, _ := exchangetest.New("GET", "/b.txt")
	used := c.get(h, &x.Request.Target)
	for used == nil && staysOpen { // the clock ran
		expect(t, h, "/b.txt", large("1"), "again")
		used = c.get(h, &x.Request.Target)
	}
	expect(t, h, "/c.txt", large("2"), "at first")
	c.Close()
	c.Close()
	if used != nil {
		if n := openBelow(t, h.root); runtime.GOOS == "linux" && n != 1 {
			t.Errorf("%d files are open, one is used", n)
		}
		if _, err := used.open.Stat(); err != nil {
			t.Errorf("a file was closed while it was used: %v", err)
		}
		used.release()
	}
	expect(t, h, "/c.txt", large("2"), "closed")
	if n, open := held(c), openBelow(t, h.root); n != 0 || open != 0 {
		t.Errorf("after Close %d files are held, %d are open", n, open)
	}
}

// Requests, replacements, removals, rewrites in place, the clock and a late
// Close, all at once. Of files that are replaced as a whole, every response is
// one version from its tag to its last byte; of the others, framing holds.
func TestCacheUnderLoad(t *testing.T) {
	t.Parallel()
	const versions = 60
	content := func(v int) string { return strings.Repeat(string(rune('a'+v%26)), 1+v*v%(2*smallFile)) }
	at := func(v int) time.Time { return modified.Add(time.Duration(v) * time.Second) }
	h, _ := cached(t, Settings{}, map[string]string{"whole.txt": content(0), "inplace.txt": content(0)})
	version := make(map[string]string)
	for v := range versions {
		version[string(appendETag(nil, at(v)))] = content(v)
	}
	var done atomic.Bool
	var others, requests sync.WaitGroup
	others.Go(func() {
		defer done.Store(true)
		whole, inPlace := filepath.Join(h.root, "whole.txt"), filepath.Join(h.root, "inplace.txt")
		for v := 1; v < versions; v++ {
			write(t, whole+".new", content(v), at(v))
			if v%10 == 0 {
				os.Remove(whole)
			}
			os.Rename(whole+".new", whole)
			write(t, inPlace, content(v), at(v))
			time.Sleep(time.Millisecond) // lets the requests have this version, however many processors there are
		}
		h.files.Close()
	})
	others.Go(func() {
		for !done.Load() {
			h.files.sweep()
			time.Sleep(200 * time.Microsecond)
		}
	})
	for range 8 {
		requests.Go(func() {
			for !done.Load() {
				name := []string{"/whole.txt", "/inplace.txt"}[rand.IntN(2)]
				x, r := exchangetest.New("GET", name)
				err := h.Serve(x)
				tag, _ := r.Field("ETag")
				switch {
				case err != nil && (x.Response.Started && name == "/inplace.txt" || exchange.AsError(err).Status == 404):
				case err != nil:
					t.Errorf("%s: %v", name, err)
				case r.Problem() != nil:
					t.Errorf("%s: %v", name, r.Problem())
				case name == "/whole.txt" && string(r.Body) != version[tag]:
					t.Errorf("%s: tag %s is not that of %d bytes %.1q", name, tag, len(r.Body), r.Body)
				}
			}
		})
	}
	requests.Wait()
	others.Wait()
	if n, open := held(h.files), openBelow(t, h.root); n != 0 || open != 0 {
		t.Errorf("at the end %d files are held, %d are open", n, open)
	}
}

// What was written while it was read is not kept: it may be half of each.
func TestReadWholeWantsOneState(t *testing.T) {
	t.Parallel()
	h := site(t, Settings{}, map[string]string{"a.txt": "12345"})
	name := filepath.Join(h.root, "a.txt")
	for _, content := range []string{"54321", "123", "1234567"} {
		write(t, name, "12345", modified)
		x, _ := exchangetest.New("GET", "/a.txt")
		f, err := h.lookUp(&x.Request.Target)
		if err != nil {
			t.Fatal(err)
		}
		write(t, name, content, modified.Add(time.Minute))
		if f.readWhole() || f.open == nil {
			t.Errorf("%q became %q between look-up and reading, and was kept", "12345", content)
		}
		f.release()
	}
}
