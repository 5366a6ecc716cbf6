//go:build !unix

package daemon

import "github.com/perchserver/perch/internal/worker"

// owner reports that applications run as the host's own user: this system has
// no other way yet.
func owner(string) (*worker.Account, error) { return nil, nil }

func asRoot(*worker.Account) bool { return false }
