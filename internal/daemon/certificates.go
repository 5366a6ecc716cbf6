package daemon

import (
	"crypto/tls"
	"log/slog"
	"strings"
	"sync"

	"github.com/perchserver/perch/internal/certs/devca"
	"github.com/perchserver/perch/internal/plan"
)

// secure lets TLS handshakes follow a plan and tells of certificates that
// cannot be used, once. What they are for is refused; the rest is served.
func (d *Daemon) secure(p *plan.Plan) {
	told := make(map[string]bool)
	for _, err := range d.certs.Apply(p.Secure) {
		told[err.Error()] = true
		if !d.badCertificates[err.Error()] {
			d.opts.Log.Error(err.Error())
		}
	}
	d.badCertificates = told
}

// issuer makes development certificates. The authority is opened when one is
// first asked for.
type issuer struct {
	environ []string
	log     *slog.Logger

	mu        sync.Mutex
	authority *devca.Authority
}

func (i *issuer) issue(name string) (*tls.Certificate, error) {
	a, err := i.open()
	if err != nil {
		return nil, err
	}
	return a.Issue(name)
}

func (i *issuer) open() (*devca.Authority, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.authority != nil {
		return i.authority, nil
	}
	folder, err := devca.Folder(i.variable)
	if err != nil {
		return nil, err
	}
	a, err := devca.Open(folder)
	if err != nil {
		return nil, err
	}
	if a.New {
		i.log.Info("made an authority for development certificates; `perch trust` lets this machine trust it", "file", a.Path)
	}
	i.authority = a
	return a, nil
}

func (i *issuer) variable(name string) string {
	for _, e := range i.environ {
		if value, ok := strings.CutPrefix(e, name+"="); ok {
			return value
		}
	}
	return ""
}
