//go:build !windows && !darwin

package trust

import "errors"

// stores are a folder of the system, and the databases of browsers.
func (s System) stores(c *certificate) (all []store, errs []error) {
	if a := s.anchor(c); a != nil {
		all = append(all, *a)
	} else {
		all = append(all, store{name: "the system", has: func() bool { return false }, add: func() error {
			return errors.New("no store of this system is known: install ca-certificates, or give " + c.path + " to the programs that have to trust it")
		}})
	}
	browsers, err := s.nss(c)
	if err != nil {
		errs = append(errs, err)
	}
	return append(all, browsers...), errs
}
