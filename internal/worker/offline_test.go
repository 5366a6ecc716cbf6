package worker

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perchserver/perch/internal/worker/spawn"
)

// offlineBubble is inBubble with an app_offline.htm to play with.
func offlineBubble(t *testing.T, script func(int) behaviour, f func(b *bench, file *offlineFile)) {
	t.Helper()
	file := &offlineFile{}
	inBubble(t, script, func(s *Settings) { s.AppOffline = file.read }, func(b *bench) { f(b, file) })
}

// offline acquires, expects the 503 of app_offline.htm and returns its body.
func (b *bench) offline() string {
	b.t.Helper()
	e := b.refused(503, 0)
	var o *Offline
	if !errors.As(e, &o) || e.RetryAfter == 0 {
		b.t.Fatalf("Acquire: %v, want app_offline.htm with Retry-After", e)
	}
	kind, body := o.Page()
	if kind != "text/html" {
		b.t.Errorf("Content-Type: %s", kind)
	}
	return string(body)
}

func TestOfflineBeforeTheFirstStart(t *testing.T) {
	offlineBubble(t, nil, func(b *bench, file *offlineFile) {
		file.put("closed")
		if body := b.offline(); body != "closed" {
			t.Errorf("body %q", body)
		}
		if b.machine.spawned() != 0 {
			t.Error("the application was started")
		}
	})
}

func TestOfflineDropsARunningApplication(t *testing.T) {
	offlineBubble(t, nil, func(b *bench, file *offlineFile) {
		w := b.acquire()
		file.put("closed")
		b.pool.CheckOffline()
		b.offline() // at once, although w is still in flight
		p := b.machine.last()
		if !p.shutdown.IsZero() {
			t.Error("the worker was asked to stop before it was drained")
		}
		w.Release()
		<-w.Gone()
		if b.events.count(EventAppOffline) != 1 || b.events.count(EventShutDown) != 1 || b.events.count(EventExited) != 0 {
			t.Error("want events 1012 and 1033, and no crash")
		}

		file.remove()
		time.Sleep(offlineCheck + 1)
		b.use() // the same request takes it into service again
		if b.machine.spawned() != 2 {
			t.Errorf("%d processes", b.machine.spawned())
		}
		file.put("closed again")
		b.pool.CheckOffline()
		if body := b.offline(); body != "closed again" {
			t.Errorf("body %q", body)
		}
		file.remove()
		b.pool.CheckOffline()
		b.use()
	})
}

func TestOfflineDuringAStart(t *testing.T) {
	offlineBubble(t, always(behaviour{listenAfter: time.Hour}), func(b *bench, file *offlineFile) {
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() { b.offline() })
		}
		time.Sleep(time.Second)
		file.put("closed")
		began := time.Now()
		b.pool.CheckOffline()
		wg.Wait()
		if time.Since(began) != 0 {
			t.Error("waiters waited on")
		}
	})
}

func TestOfflineAfterAFailedStart(t *testing.T) {
	offlineBubble(t, always(behaviour{spawnErr: errors.New("no")}), func(b *bench, file *offlineFile) {
		b.refused(502, 5)
		file.put("closed")
		b.offline()
	})
}

func TestOfflineIsReadAtMostEvery200Milliseconds(t *testing.T) {
	offlineBubble(t, nil, func(b *bench, file *offlineFile) {
		file.put("one")
		b.offline()
		before := file.reads
		file.put("two")
		for range 201 {
			if body := b.offline(); body != "one" {
				t.Fatalf("body %q before the time is over", body)
			}
			time.Sleep(time.Millisecond)
		}
		if file.reads != before {
			t.Errorf("read %d times within 200 ms", file.reads-before)
		}
		if body := b.offline(); body != "two" || file.reads != before+1 {
			t.Errorf("body %q after %d reads", body, file.reads-before)
		}
	})
}

func TestOfflineKeepsItsContentWhenTheFileIsEmpty(t *testing.T) {
	offlineBubble(t, nil, func(b *bench, file *offlineFile) {
		file.put("")
		if body := b.offline(); body != "" {
			t.Errorf("body %q", body)
		}
		file.put("closed")
		b.pool.CheckOffline()
		file.put("")
		b.pool.CheckOffline()
		if body := b.offline(); body != "closed" {
			t.Errorf("body %q, want the one before", body)
		}
	})
}

func TestAppOfflineFile(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	read := AppOfflineFile(root)
	expect := func(what, content string, present bool) {
		t.Helper()
		if got, there := read(); string(got) != content || there != present {
			t.Errorf("%s: %q, %v; want %q, %v", what, got, there, content, present)
		}
	}
	write := func(name, content string) string {
		t.Helper()
		path := filepath.Join(root, name)
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	expect("no file", "", false)
	path := write("App_Offline.HTM", "one")
	expect("another case", "one", true)
	os.Remove(path)
	path = write("app_offline.htm", "two")
	expect("plain", "two", true)
	if err := os.Truncate(path, maxOfflinePage+1); err != nil {
		t.Fatal(err)
	}
	expect("too large", "", true)
	os.Remove(path)
	expect("removed", "", false)
	if err := os.Symlink(filepath.Join(root, "nowhere", "x"), path); err != nil {
		t.Skip(err)
	}
	expect("unreadable", "", true)
}

func TestReplaceWhileOffline(t *testing.T) {
	offlineBubble(t, nil, func(b *bench, file *offlineFile) {
		b.use()
		file.put("closed")
		b.pool.CheckOffline()
		b.pool.Replace(b.changed(nil), "deploy")
		synctest.Wait()
		b.offline()
		if b.machine.spawned() != 1 {
			t.Error("a replacement was started although the application is offline")
		}
	})
}

func TestOfflineAndCrashTogether(t *testing.T) {
	offlineBubble(t, always(behaviour{stopTakes: time.Second}), func(b *bench, file *offlineFile) {
		w := b.acquire()
		w.Release()
		file.put("closed")
		b.pool.CheckOffline()
		b.machine.last().end(spawn.Exit{Code: 1})
		<-w.Gone()
		b.offline()
	})
}
