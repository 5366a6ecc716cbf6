package output

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// runAs runs f with the rights that o has on files. On Linux these belong to
// the thread (credentials(7)), so f gets one of its own, which ends with it.
// A host that is not root has no rights to give up.
func runAs(o Owner, f func() error) error {
	if unix.Geteuid() != 0 {
		return f()
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // not unlocked: the thread must not serve others
		done <- func() error {
			if err := become(o); err != nil {
				return fmt.Errorf("take the rights of user %d: %w", o.UID, err)
			}
			return f()
		}()
	}()
	return <-done
}

// become changes this thread's identity for access to files.
func become(o Owner) error {
	groups := make([]int, len(o.Groups))
	for i, g := range o.Groups {
		groups[i] = int(g)
	}
	// Of this thread alone, other than the standard library's.
	if err := unix.Setgroups(groups); err != nil {
		return err
	}
	// These two report no error; asking for an impossible one returns the
	// identity in force (setfsuid(2)).
	_ = unix.Setfsgid(int(o.GID))
	_ = unix.Setfsuid(int(o.UID))
	gid, _ := unix.SetfsgidRetGid(-1)
	uid, _ := unix.SetfsuidRetUid(-1)
	if uint32(uid) != o.UID || uint32(gid) != o.GID {
		return unix.EPERM
	}
	return nil
}
