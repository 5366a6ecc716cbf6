package trust

import (
	"crypto/sha1"
	"encoding/hex"
)

// stores are the user's trusted roots. Windows asks the user whether he means
// it.
func (s System) stores(c *certificate) ([]store, []error) {
	sum := sha1.Sum(c.der)
	thumbprint := hex.EncodeToString(sum[:]) // as Windows names certificates
	return []store{{
		name:   "the user's trusted root certificates",
		has:    func() bool { return s.Run("certutil", "-user", "-store", "Root", thumbprint) == nil },
		add:    func() error { return s.Run("certutil", "-user", "-addstore", "Root", c.path) },
		remove: func() error { return s.Run("certutil", "-user", "-delstore", "Root", thumbprint) },
	}}, nil
}
