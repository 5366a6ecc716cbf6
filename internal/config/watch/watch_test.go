package watch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
)

// The rules of a web server: what the daemon asks for, in short.
var (
	offline = Rule{Match: named("app_offline.htm")}
	config  = Rule{Match: named("web.config"), Quiet: 100 * time.Millisecond, Most: 2 * time.Second}
	library = Rule{Match: func(name string) bool { return strings.HasSuffix(name, ".dll") },
		Quiet: 500 * time.Millisecond, Most: 30 * time.Second}
	folders = Rule{Folders: true}
)

func TestTellsAtOnceWithEvents(t *testing.T) {
	t.Parallel()
	inBubble(t, newPretend, func(b *bench) {
		b.Add(b.dir, b.rule("offline", offline))
		b.at(300)
		b.write("App_Offline.HTM", "closed")
		b.expect("300ms offline: App_Offline.HTM")
		// Looks are 50 ms apart at least.
		b.at(310)
		b.remove("App_Offline.HTM")
		b.event("App_Offline.HTM", fsnotify.Remove)
		b.at(400)
		b.expect("350ms offline: App_Offline.HTM")
		b.at(5000)
		b.expect()
	})
}

func TestTellsWithinASecondWithoutEvents(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(b *bench) {
		b.Add(b.dir, b.rule("offline", offline), b.rule("config", config))
		b.at(300)
		b.put("app_offline.htm", "closed")
		b.put("web.config", "<configuration/>")
		b.at(1000)
		b.expect("1000ms offline: app_offline.htm")
		b.at(1500)
		b.expect("1100ms config: web.config")
		b.remove("app_offline.htm")
		b.at(4000)
		b.expect("2100ms offline: app_offline.htm")
	})
}

// A file is told when it has been left alone, and not before.
func TestWaitsForQuiet(t *testing.T) {
	t.Parallel()
	inBubble(t, newPretend, func(b *bench) {
		b.Add(b.dir, b.rule("config", config))
		for i := range 10 {
			b.at(1000 + 90*i)
			b.write("web.config", strings.Repeat("x", i))
		}
		b.at(3000)
		b.expect("1910ms config: web.config")
	})
}

// Without events the look at the end of the wait notices that the file grows.
func TestWaitsForQuietWithoutEvents(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(b *bench) {
		b.Add(b.dir, b.rule("library", library))
		for i := range 10 {
			b.at(950 + 200*i)
			b.put("app.dll", strings.Repeat("x", i))
		}
		// Last written at 2750, seen at 3000, told after a look at 3500.
		b.at(5000)
		b.expect("3500ms library: app.dll")
	})
}

func TestWaitIsBounded(t *testing.T) {
	t.Parallel()
	inBubble(t, newPretend, func(b *bench) {
		b.Add(b.dir, b.rule("config", config))
		for i := range 60 {
			b.at(1100 + 60*i)
			b.write("web.config", strings.Repeat("x", i))
		}
		b.at(6000)
		b.expect("3100ms config: web.config", "4740ms config: web.config")
	})
}

// A copy of many files is one change.
func TestTellsACopyOnce(t *testing.T) {
	t.Parallel()
	inBubble(t, newPretend, func(b *bench) {
		b.Add(b.dir, b.rule("offline", offline), b.rule("library", library))
		var names []string
		for i := range 20 {
			b.at(1000 + 400*i)
			name := fmt.Sprintf("%02d.dll", i)
			b.write(name, "code")
			b.write("readme.txt", name)
			names = append(names, name)
		}
		b.at(20000)
		b.expect("9100ms library: " + strings.Join(names, " "))
	})
}

func TestWhatIsAChange(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(b *bench)
		told   bool
	}{
		{"Touched", func(b *bench) { b.touch("web.config") }, true},
		{"Longer", func(b *bench) { b.put("web.config", "<configuration ></configuration>") }, true},
		{"Removed", func(b *bench) { b.remove("web.config") }, true},
		{"RenamedAway", func(b *bench) { b.rename("web.config", "web.config.old") }, true},
		{"BecameAFolder", func(b *bench) { b.remove("web.config"); b.mkdir("web.config") }, true},
		{"LinkLedElsewhere", func(b *bench) {
			b.put("other", "<other/>")
			b.remove("web.config")
			b.check(os.Symlink("other", b.path("web.config")))
		}, true},
		{"ReplacedByItsLike", func(b *bench) {
			if runtime.GOOS == "windows" {
				b.Skip("the identity of a file is that of its path")
			}
			was, err := os.Stat(b.path("web.config"))
			b.check(err)
			b.put("new", "<configuration/>")
			b.check(os.Chtimes(b.path("new"), was.ModTime(), was.ModTime()))
			b.rename("new", "web.config")
		}, true},
		{"Permissions", func(b *bench) { b.check(os.Chmod(b.path("web.config"), 0o600)) }, false},
		{"Read", func(b *bench) { _, err := os.ReadFile(b.path("web.config")); b.check(err) }, false},
		{"AnotherName", func(b *bench) { b.put("web.config.bak", "x") }, false},
		{"InASubFolder", func(b *bench) { b.put("sub/web.config", "x") }, false},
		{"FolderOfAnotherName", func(b *bench) { b.mkdir("new") }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, nil, func(b *bench) {
				b.mkdir("sub")
				b.put("web.config", "<configuration/>")
				b.Add(b.dir, b.rule("config", config))
				b.at(1500)
				c.change(b)
				b.at(4000)
				if c.told {
					b.expect("2100ms config: web.config")
				} else {
					b.expect()
				}
			})
		})
	}
}

func TestSubFolders(t *testing.T) {
	t.Parallel()
	inBubble(t, newPretend, func(b *bench) {
		b.mkdir("old")
		b.Add(b.dir, b.rule("folders", folders))
		for i, step := range []func(){
			func() { b.mkdir("new"); b.event("new", fsnotify.Create) },
			func() { b.rename("old", "older"); b.event("older", fsnotify.Create) },
			func() { b.put("new/file", "x"); b.touch("new"); b.event("new", fsnotify.Write) },
			func() { b.put("file", "x"); b.event("file", fsnotify.Create) },
			func() { b.remove("new"); b.put("new", "a file"); b.event("new", fsnotify.Remove) },
		} {
			b.at(100 + 100*i)
			step()
		}
		b.at(3000)
		b.expect("100ms folders: new", "200ms folders: old older", "500ms folders: new")
	})
}

// A deployment renames the old folder away and the new one to its place.
func TestFolderIsReplaced(t *testing.T) {
	t.Parallel()
	inBubble(t, newPretend, func(b *bench) {
		b.put("same.dll", "v1")
		b.put("old.dll", "v1")
		b.Add(b.dir, b.rule("library", library))
		b.source.taken()

		b.at(500)
		b.rename("", "../app.old")
		b.event("", fsnotify.Rename)
		b.at(600)
		if got := b.source.taken(); !slices.Equal(got, []string{"remove " + b.dir}) {
			t.Errorf("the folder has gone: %q", got)
		}
		b.mkdir("")
		b.put("same.dll", "v2")
		b.put("new.dll", "v2")

		b.at(1500)
		if got := b.source.taken(); !slices.Equal(got, []string{"add " + b.dir}) {
			t.Errorf("the folder has come again: %q", got)
		}
		b.at(3000)
		// Looked at when it went, at 1000 and at 1500.
		b.expect("1500ms library: new.dll old.dll same.dll")

		b.at(3300)
		b.write("new.dll", "v3.0")
		b.at(4000)
		b.expect("3800ms library: new.dll")
	})
}

// Another folder of the same name between two looks, without any event.
func TestFolderIsReplacedUnseen(t *testing.T) {
	t.Parallel()
	inBubble(t, newPretend, func(b *bench) {
		b.put("app.dll", "v1")
		b.Add(b.dir, b.rule("library", library))
		b.source.taken()
		b.rename("", "../app.old")
		b.mkdir("")
		b.put("app.dll", "version 2")
		b.at(2000)
		b.expect("1500ms library: app.dll")
		if got := b.source.taken(); !slices.Equal(got, []string{"remove " + b.dir, "add " + b.dir}) {
			t.Errorf("another folder is there: %q", got)
		}
		if strings.Contains(b.log.String(), "level=") {
			t.Errorf("logged %s", b.log.String())
		}
	})
}

func TestLinkToAFolderIsLedElsewhere(t *testing.T) {
	t.Parallel()
	inBubble(t, newPretend, func(b *bench) {
		b.mkdir("1")
		b.mkdir("2")
		b.put("1/app.dll", "v1")
		b.put("2/app.dll", "version 2")
		b.check(os.Symlink("1", b.path("current")))
		b.Add(b.path("current"), b.rule("library", library))
		if got := b.source.taken(); !slices.Equal(got, []string{"add " + b.path("1")}) {
			t.Errorf("at first: %q", got)
		}
		b.write("1/app.dll", "v1.1")
		b.at(600)
		b.expect("550ms library: app.dll")

		b.remove("current")
		b.check(os.Symlink("2", b.path("current")))
		b.at(2200)
		b.expect("2050ms library: app.dll")
		if got := b.source.taken(); !slices.Equal(got, []string{"remove " + b.path("1"), "add " + b.path("2")}) {
			t.Errorf("led elsewhere: %q", got)
		}
		b.write("2/app.dll", "v2.1")
		b.at(3000)
		b.expect("2700ms library: app.dll")
	})
}

func TestFolderThatDoesNotExistYet(t *testing.T) {
	t.Parallel()
	inBubble(t, newPretend, func(b *bench) {
		b.Add(b.path("later"), b.rule("config", config))
		b.at(500)
		b.mkdir("later")
		b.put("later/web.config", "<configuration/>")
		b.at(2000)
		b.expect("1100ms config: web.config")
		if text := b.log.String(); text != "" {
			t.Errorf("logged %s", text)
		}
	})
}

// What is not a folder any more has no files.
func TestFolderBecameAFile(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(b *bench) {
		b.mkdir("sub")
		b.put("sub/web.config", "<configuration/>")
		b.Add(b.path("sub"), b.rule("config", config))
		b.remove("sub")
		b.put("sub", "a file")
		b.at(3000)
		b.expect("1100ms config: web.config")
	})
}

// What cannot be read is not known to have changed.
func TestFolderThatCannotBeRead(t *testing.T) {
	t.Parallel()
	inBubble(t, newPretend, func(b *bench) {
		b.mkdir("sub")
		b.put("sub/web.config", "<configuration/>")
		b.Add(b.path("sub"), b.rule("config", config))
		b.rename("sub", "away")
		b.check(os.Symlink("sub", b.path("sub"))) // an endless loop
		b.at(5000)
		b.expect()
		if n := strings.Count(b.log.String(), "cannot be watched"); n != 1 {
			t.Errorf("said %d times that the folder cannot be read: %s", n, b.log.String())
		}
		b.remove("sub")
		b.rename("away", "sub")
		b.at(7300)
		b.expect()
		b.write("sub/web.config", "<configuration />")
		b.at(8000)
		b.expect("7400ms config: web.config")
	})
}

// A change that is due while the folder cannot be read is told later, and does
// not keep the processor busy.
func TestPendingChangeOfAFolderThatCannotBeRead(t *testing.T) {
	t.Parallel()
	inBubble(t, newPretend, func(b *bench) {
		b.mkdir("sub")
		b.Add(b.path("sub"), b.rule("config", config))
		b.at(200)
		b.write("sub/web.config", "<configuration/>")
		b.at(250)
		b.rename("sub", "away")
		b.check(os.Symlink("sub", b.path("sub")))
		b.at(5000)
		b.expect()
		b.remove("sub")
		b.rename("away", "sub")
		b.at(7000)
		b.expect("5300ms config: web.config")
	})
}

// After an overflow nobody knows where something happened.
func TestLostEventsLookEverywhere(t *testing.T) {
	t.Parallel()
	inBubble(t, newPretend, func(b *bench) {
		b.mkdir("1")
		b.mkdir("2")
		b.Add(b.path("1"), b.rule("one", offline))
		b.Add(b.path("2"), b.rule("two", offline))
		b.at(300)
		b.put("1/app_offline.htm", "closed")
		b.source.errors <- fsnotify.ErrEventOverflow
		b.expect("300ms one: app_offline.htm")
		b.at(400)
		b.put("2/app_offline.htm", "closed")
		b.source.errors <- fsnotify.ErrEventOverflow
		b.expect("400ms two: app_offline.htm")
	})
}

// At the limit of inotify polling goes on alone, which is said once, and the
// events are asked for again.
func TestWatchLimit(t *testing.T) {
	t.Parallel()
	inBubble(t, newPretend, func(b *bench) {
		b.source.failing(os.NewSyscallError("inotify_add_watch", syscall.ENOSPC))
		b.mkdir("sub")
		b.Add(b.dir, b.rule("config", config))
		b.Add(b.path("sub"), b.rule("sub", config))
		b.at(500)
		b.put("web.config", "<configuration/>")
		b.at(3500)
		b.expect("1100ms config: web.config")
		text := b.log.String()
		if strings.Count(text, "level=WARN") != 1 || !strings.Contains(text, "fs.inotify.max_user_watches") || !strings.Contains(text, b.dir) {
			t.Errorf("logged %s", text)
		}
		b.source.failing(nil)
		b.at(4500)
		if got := b.source.taken(); len(got) != 2 {
			t.Errorf("when the limit is gone: %q", got)
		}
		b.write("sub/web.config", "<configuration/>")
		b.at(4700)
		b.expect("4600ms sub: web.config")
	})
}

// Two ways to the same folder are one watch of the source, which knows a
// folder by one path only.
func TestFolderAddedTwice(t *testing.T) {
	t.Parallel()
	inBubble(t, newPretend, func(b *bench) {
		b.check(os.Symlink(b.dir, b.path("../link")))
		one := b.Add(b.dir, b.rule("one", offline))
		two := b.Add(b.path("../link"), b.rule("two", offline))
		b.at(200)
		b.write("app_offline.htm", "closed")
		synctest.Wait()
		slices.Sort(b.told)
		b.expect("200ms one: app_offline.htm", "200ms two: app_offline.htm")
		one.Stop()
		synctest.Wait()
		b.at(400)
		b.write("app_offline.htm", "closed!")
		b.expect("400ms two: app_offline.htm")
		two.Stop()
		synctest.Wait()
		if got := b.source.taken(); !slices.Equal(got, []string{"add " + b.dir, "remove " + b.dir}) {
			t.Errorf("calls of the source: %q", got)
		}
		b.put("app_offline.htm", "closed!!")
		b.at(3000)
		b.expect()
	})
}

// While one rule is being told, other folders and the source go on; Close
// waits for it, and nothing is told afterwards.
func TestCloseWaits(t *testing.T) {
	t.Parallel()
	inBubble(t, newPretend, func(b *bench) {
		b.mkdir("sub")
		entered, leave := make(chan bool), make(chan bool)
		b.Add(b.dir, Rule{Match: named("web.config"), Changed: func([]string) { entered <- true; <-leave }}, b.rule("offline", offline))
		b.Add(b.path("sub"), b.rule("sub", offline))
		b.at(100)
		b.put("app_offline.htm", "closed")
		b.write("web.config", "<configuration/>")
		<-entered
		for range 3 {
			b.event("web.config", fsnotify.Write)
		}
		b.write("sub/app_offline.htm", "closed")
		b.expect("100ms sub: app_offline.htm")

		closed := make(chan bool)
		go func() { b.Close(); close(closed) }()
		b.at(2000)
		select {
		case <-closed:
			t.Error("Close did not wait")
		default:
		}
		close(leave)
		<-closed
		b.expect()
		if f := b.Add(b.path("sub"), b.rule("late", offline)); f.ctx.Err() == nil {
			t.Error("a closed watcher watches a folder")
		}
	})
}

// A rule may stop its own folder, and add others.
func TestRulesMayChangeWhatIsWatched(t *testing.T) {
	t.Parallel()
	inBubble(t, newPretend, func(b *bench) {
		b.mkdir("sub")
		var f *Folder
		f = b.Add(b.dir, Rule{Match: named("web.config"), Changed: func([]string) {
			f.Stop()
			b.Add(b.path("sub"), b.rule("sub", offline))
		}}, b.rule("offline", offline))
		b.at(100)
		b.put("app_offline.htm", "closed")
		b.write("web.config", "<configuration/>")
		b.at(500)
		b.expect()
		b.write("sub/app_offline.htm", "closed")
		b.expect("500ms sub: app_offline.htm")
	})
}

// The source may wait for an event to be taken before it takes a call.
func TestEventsAreTakenWhileTheSourceIsCalled(t *testing.T) {
	t.Parallel()
	inBubble(t, newPretend, func(b *bench) {
		s := b.Watcher.source
		s.Add = func(dir string) error {
			b.source.events <- fsnotify.Event{Name: filepath.Join(dir, "x"), Op: fsnotify.Create}
			return b.source.add(dir)
		}
		s.Remove = func(dir string) error {
			b.source.events <- fsnotify.Event{Name: filepath.Join(dir, "x"), Op: fsnotify.Remove}
			return b.source.remove(dir)
		}
		b.Add(b.dir, b.rule("offline", offline)).Stop()
		b.Add(b.dir, b.rule("offline", offline))
		b.at(100)
		b.write("app_offline.htm", "closed")
		b.at(200)
		b.expect("100ms offline: app_offline.htm")
	})
}

func TestNoEventsAtAll(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(b *bench) {
		b.warn("", os.NewSyscallError("inotify_init", syscall.EMFILE))
		b.warn("", errors.New("again"))
		b.warn("", os.ErrNotExist)
		text := b.log.String()
		if strings.Count(text, "\n") != 1 || !strings.Contains(text, "max_user_instances") {
			t.Errorf("logged %s", text)
		}
	})
}

func TestPollingIsBounded(t *testing.T) {
	t.Parallel()
	for round, want := range map[time.Duration]time.Duration{
		0:                      time.Second,
		time.Millisecond:       time.Second,
		10 * time.Millisecond:  time.Second,
		100 * time.Millisecond: 10 * time.Second,
	} {
		if got := interval(round); got != want {
			t.Errorf("a round of %v: every %v, want %v", round, got, want)
		}
	}
	w := start(nil, nil)
	one, two := &Folder{w: w}, &Folder{w: w}
	for i, step := range []struct {
		f     *Folder
		took  time.Duration
		round time.Duration
	}{
		{one, time.Minute, 0}, // the first look is not like the others
		{one, time.Second, time.Second},
		{one, time.Minute, time.Second},
		{one, 2 * time.Second, 2 * time.Second},
		{two, time.Second, 2 * time.Second},
		{two, time.Second, 3 * time.Second},
		{one, 0, time.Second}, // the end of a folder
		{two, 0, 0},
	} {
		step.f.spend(step.took)
		if got := time.Duration(w.round.Load()); got != step.round {
			t.Errorf("step %d: a round takes %v, want %v", i, got, step.round)
		}
	}
}
