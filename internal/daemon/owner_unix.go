//go:build unix

package daemon

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"github.com/perchserver/perch/internal/worker"
	"github.com/perchserver/perch/internal/worker/spawn"
)

// owner is the user that runs the application: under root it is the owner of
// the folder, so that an application never has more rights than whoever put it
// there; otherwise it is the host's own user (nil).
func owner(folder string) (account *worker.Account, err error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	info, err := os.Stat(folder)
	if err != nil {
		return nil, nil // building the plan says so better
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil, fmt.Errorf("owner of %s: this file system does not tell", folder)
	}
	if stat.Uid == 0 {
		return nil, nil
	}
	a := &worker.Account{User: spawn.User{UID: stat.Uid, GID: stat.Gid}}
	u, err := user.LookupId(strconv.FormatUint(uint64(stat.Uid), 10))
	if err != nil {
		return a, nil // a number without a name runs as well
	}
	a.Name, a.Home = u.Username, u.HomeDir
	if gid, err := strconv.ParseUint(u.Gid, 10, 32); err == nil {
		a.GID = uint32(gid)
	}
	ids, err := u.GroupIds()
	if err != nil {
		return a, nil
	}
	for _, id := range ids {
		if gid, err := strconv.ParseUint(id, 10, 32); err == nil {
			a.Groups = append(a.Groups, uint32(gid))
		}
	}
	return a, nil
}

// asRoot reports whether an application runs as root.
func asRoot(a *worker.Account) bool { return a == nil && os.Geteuid() == 0 }
