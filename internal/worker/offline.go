package worker

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/ownfile"
)

// offlineCheck is how old the knowledge of app_offline.htm may be while
// requests are answered with it (spec 4.1).
const offlineCheck = 200 * time.Millisecond

// Offline is the cause of the 503 that an application answers while
// app_offline.htm is in its folder.
type Offline struct {
	Content []byte // of the file; it must not be changed
}

// Error says why there is no application.
func (o *Offline) Error() string { return "app_offline.htm is present" }

// Page is the response body and its content type (spec 4.2).
func (o *Offline) Page() (contentType string, body []byte) { return "text/html", o.Content }

// maxOfflinePage bounds app_offline.htm. A larger file is served as an empty
// one.
const maxOfflinePage = 16 << 20

// AppOfflineFile returns a reader, for Settings.AppOffline, of the file
// app_offline.htm in an application's folder. Its name may be in any case
// (spec 4.1).
func AppOfflineFile(root string) func() (content []byte, present bool) {
	return func() ([]byte, bool) {
		name := "app_offline.htm"
		if _, err := os.Lstat(filepath.Join(root, name)); errors.Is(err, fs.ErrNotExist) {
			entries, _ := os.ReadDir(root)
			i := slices.IndexFunc(entries, func(e fs.DirEntry) bool { return strings.EqualFold(e.Name(), name) })
			if i < 0 {
				return nil, false
			}
			name = entries[i].Name()
		}
		content, err := ownfile.Read(root, name, maxOfflinePage)
		if err != nil {
			return nil, true // it is there, and cannot be read (spec 4.2)
		}
		return content, true
	}
}

// offline is the state of a pool whose application is offline.
type offline struct {
	page    Offline
	read    func() ([]byte, bool)
	since   time.Time
	checked atomic.Int64 // nanoseconds after since
}

func newOffline(content []byte, read func() ([]byte, bool)) *offline {
	return &offline{page: Offline{Content: content}, read: read, since: time.Now()}
}

// answer is the error that one request is answered with.
func (o *offline) answer() *exchange.Error {
	return &exchange.Error{Status: 503, Op: "acquire a worker", RetryAfter: 1,
		Public: "The application is offline.", Err: &o.page}
}

// due reports whether it is time to look at the file again, to one caller.
func (o *offline) due() bool {
	now, last := int64(time.Since(o.since)), o.checked.Load()
	return now-last > int64(offlineCheck) && o.checked.CompareAndSwap(last, now)
}

// checkOffline returns the error to answer with while the application is
// offline, and takes it back into service when the file is found gone.
func (p *Pool) checkOffline() error {
	o := p.offline.Load()
	if o == nil {
		return nil
	}
	if o.due() {
		if o = p.lookOffline(o.read); o == nil {
			return nil
		}
	}
	return o.answer()
}

// CheckOffline looks for app_offline.htm now. Whoever watches the folder
// calls it when that file comes, changes or goes; a start looks by itself,
// and so do requests while the application is offline.
func (p *Pool) CheckOffline() {
	p.mu.Lock()
	read := p.settings.AppOffline
	p.mu.Unlock()
	p.lookOffline(read)
}

// lookOffline reads app_offline.htm and lets the pool follow: it stops all
// workers when the file has come, and lets requests start them again when it
// has gone. It returns the new state, nil when in service.
func (p *Pool) lookOffline(read func() ([]byte, bool)) *offline {
	if read == nil {
		return nil
	}
	p.looking.Lock() // what was read last is what is obeyed last
	defer p.looking.Unlock()
	content, present := read()
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.offline.Load()
	switch {
	case !present:
		if old != nil {
			p.offline.Store(nil)
			p.log.Info("app_offline.htm is gone; the application is in service again", "event", EventAppOffline)
		}
		return nil
	case old == nil:
		p.log.Info("app_offline.htm is present; stopping the application", "event", EventAppOffline)
		old = newOffline(content, read)
	case len(content) > 0 && !bytes.Equal(content, old.page.Content):
		// An empty or unreadable file keeps the content before (spec 4.2).
		old = newOffline(content, read)
	default:
		return old
	}
	p.offline.Store(old)
	p.withdraw()
	return old
}
