package trust

import "path/filepath"

// stores are the user's keychain, which the system asks for a password for,
// and the databases of Firefox.
func (s System) stores(c *certificate) (all []store, errs []error) {
	keychain := filepath.Join(s.Home, "Library/Keychains/login.keychain-db")
	all = append(all, store{
		name: "the keychain: " + keychain,
		add: func() error {
			return s.Run("security", "add-trusted-cert", "-r", "trustRoot", "-k", keychain, c.path)
		},
		remove: func() error { return s.Run("security", "remove-trusted-cert", c.path) },
	})
	browsers, err := s.nss(c)
	if err != nil {
		errs = append(errs, err)
	}
	return append(all, browsers...), errs
}
