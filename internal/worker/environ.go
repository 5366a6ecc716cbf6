package worker

import (
	"crypto/rand"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Variables of the protocols (spec 2.4).
const (
	varPort        = "ASPNETCORE_PORT"
	varToken       = "ASPNETCORE_TOKEN"
	varApplPath    = "ASPNETCORE_APPL_PATH"
	varHTTPAuth    = "ASPNETCORE_IIS_HTTPAUTH"
	varPhysical    = "ASPNETCORE_IIS_PHYSICAL_PATH"
	varWebSockets  = "ASPNETCORE_IIS_WEBSOCKETS_SUPPORTED"
	varHTTPSPort   = "ASPNETCORE_ANCM_HTTPS_PORT"
	varStartup     = "ASPNETCORE_HOSTINGSTARTUPASSEMBLIES"
	varPlatform    = "HTTP_PLATFORM_PORT"
	varInstance    = "HTTP_PLATFORM_INSTANCE"
	varPlainPort   = "PORT"
	varPreferHost  = "ANCM_PREFER_ENVIRONMENT_VARIABLES"
	integrationDLL = "Microsoft.AspNetCore.Server.IISIntegration"
)

// Limits of a configured port (spec 2.2).
const (
	minFixedPort = 1025
	maxFixedPort = 48000
)

// environ is the environment of an application while it is put together. The
// names of the overlay are compared without regard to case, as on Windows,
// and keep their spelling.
type environ struct {
	settings *Settings
	host     []string   // the host's own, without what concerns it alone
	overlay  []Variable // what replaces and extends it, one per name
}

// newEnviron does the steps of the module's algorithm (spec 1.6) that do not
// depend on the port.
func newEnviron(s *Settings) *environ {
	e := &environ{settings: s, host: inheritable(s)}
	if u := s.User; u != nil {
		e.set("HOME", u.Home)
		e.set("USER", u.Name)
		e.set("LOGNAME", u.Name)
	}
	for _, v := range s.Environment {
		e.set(v.Name, expand(v.Value, e.inherited))
	}
	if s.Protocol == AspNetCore {
		e.setModuleVariables()
	}
	if e.preferHost() {
		for i, v := range e.overlay {
			if value, ok := e.inherited(v.Name); ok {
				e.overlay[i].Value = value
			}
		}
	}
	if s.Protocol == AspNetCore {
		e.setPlace()
		e.set(varWebSockets, strconv.FormatBool(!s.NoWebSockets))
	}
	return e
}

// setModuleVariables sets what the module forces or defaults before it looks
// at the host's own variables. The physical path is a path (spec 10.2).
func (e *environ) setModuleVariables() {
	s := e.settings
	e.set(varPhysical, strings.TrimRight(s.Root, `/\`)+string(filepath.Separator))
	if _, ok := e.get(varHTTPSPort); !ok {
		port := ""
		if s.HTTPSPort != 0 {
			port = strconv.Itoa(int(s.HTTPSPort))
		}
		e.set(varHTTPSPort, port)
	}
	auth := s.HTTPAuth
	if auth == "" {
		auth = "anonymous;"
	}
	e.set(varHTTPAuth, auth)
	if _, ok := e.get(varStartup); !ok {
		list, _ := e.inherited(varStartup)
		e.set(varStartup, appendListed(list, integrationDLL))
	}
}

// setPlace sets the variables that tell an application its place. They are
// set per process and not for the whole host (spec 2.4); configured ones win.
func (e *environ) setPlace() {
	s := e.settings
	for _, v := range []Variable{
		{"ASPNETCORE_IIS_VERSION", s.Identity.Version},
		{"ASPNETCORE_IIS_APP_POOL_ID", s.Identity.AppPool},
		{"ASPNETCORE_IIS_APP_POOL_CONFIG_FILE", s.Identity.AppPoolConfig},
		{"ASPNETCORE_IIS_SITE_NAME", s.Identity.SiteName},
		{"ASPNETCORE_IIS_SITE_ID", s.Identity.SiteID},
		{"ASPNETCORE_IIS_APP_CONFIG_PATH", s.Identity.AppConfigPath},
		{"ASPNETCORE_IIS_APPLICATION_ID", s.Identity.ApplicationID},
		{"ASPNETCORE_IIS_APPLICATION_VIRTUAL_PATH", s.virtualPath()},
	} {
		if _, ok := e.get(v.Name); !ok && v.Value != "" {
			e.set(v.Name, v.Value)
		}
	}
}

// appendListed adds name to a list with semicolons, once.
func appendListed(list, name string) string {
	if list == "" {
		return name
	}
	for item := range strings.SplitSeq(list, ";") {
		if strings.EqualFold(item, name) {
			return list
		}
	}
	return list + ";" + name
}

// preferHost reports whether variables of the host win over web.config's.
func (e *environ) preferHost() bool {
	v, _ := e.inherited(varPreferHost)
	return v == "1" || strings.EqualFold(v, "true")
}

// get returns a variable of the overlay.
func (e *environ) get(name string) (string, bool) {
	for _, v := range e.overlay {
		if strings.EqualFold(v.Name, name) {
			return v.Value, true
		}
	}
	return "", false
}

// set gives a variable of the overlay a value and the spelling of its name.
// PATH is found by its exact name outside Windows, so it keeps that.
func (e *environ) set(name, value string) {
	if strings.EqualFold(name, "PATH") {
		name = pathVariable
	}
	for i, v := range e.overlay {
		if strings.EqualFold(v.Name, name) {
			e.overlay[i] = Variable{name, value}
			return
		}
	}
	e.overlay = append(e.overlay, Variable{name, value})
}

// inherited returns a variable of the host that the application may see. The
// exact name wins over one that differs in case.
func (e *environ) inherited(name string) (value string, ok bool) {
	for _, entry := range e.host {
		n, v, _ := strings.Cut(entry, "=")
		if n == name {
			return v, true
		}
		if !ok && strings.EqualFold(n, name) {
			value, ok = v, true
		}
	}
	return value, ok
}

// lookup returns a variable as the application will see it.
func (e *environ) lookup(name string) (string, bool) {
	if v, ok := e.get(name); ok {
		return v, true
	}
	return e.inherited(name)
}

// fixedPort returns the configured port as text, empty when the host is to
// choose one. A port out of range is an error that no second attempt mends.
func (e *environ) fixedPort() (string, error) {
	if e.settings.Protocol != AspNetCore {
		return "", nil
	}
	text, _ := e.get(varPort)
	if text == "" {
		return "", nil
	}
	if n, err := strconv.Atoi(strings.TrimSpace(text)); err != nil || n < minFixedPort || n > maxFixedPort {
		return "", fmt.Errorf("%s is %q; a port from %d to %d is expected", varPort, text, minFixedPort, maxFixedPort)
	}
	return text, nil
}

// portConfigured reports whether the port is configured, rightly or wrongly.
func (s *Settings) portConfigured() bool {
	text, err := newEnviron(s).fixedPort()
	return text != "" || err != nil
}

// token returns the pairing token: the configured one, or a random one.
func (e *environ) token() string {
	if e.settings.Protocol != AspNetCore {
		return ""
	}
	if t, _ := e.get(varToken); t != "" {
		return t
	}
	return newGUID()
}

// block returns the environment of one attempt. instance marks its processes.
func (e *environ) block(port, token, instance string) []string {
	final := &environ{settings: e.settings, overlay: slices.Clone(e.overlay)}
	if e.settings.Protocol == AspNetCore {
		final.set(varPort, port)
		final.set(varToken, token)
		final.set(varApplPath, e.settings.virtualPath())
	} else {
		for i, v := range final.overlay {
			final.overlay[i].Value = expandPort(v.Value, port)
		}
		final.set(varPlatform, port)
	}
	final.set(varInstance, instance)
	if _, ok := e.lookup(varPlainPort); !ok {
		final.set(varPlainPort, port)
	}
	var block []string
	for _, entry := range e.host {
		name, _, _ := strings.Cut(entry, "=")
		if _, replaced := final.get(name); !replaced {
			block = append(block, entry)
		}
	}
	for _, v := range final.overlay {
		block = append(block, v.Name+"="+v.Value)
	}
	return block
}

// inheritable returns the host's environment without what concerns the host
// alone: its own settings, what its service manager told it, secrets given to
// it, and what it was told if it is hosted in this way itself.
func inheritable(s *Settings) []string {
	var kept []string
	for _, entry := range s.Host {
		name, _, ok := strings.Cut(entry, "=")
		if !ok || name == "" || private(name) ||
			slices.ContainsFunc(s.Secrets, func(secret string) bool { return strings.EqualFold(secret, name) }) {
			continue
		}
		if own := []string{varPort, varToken, varApplPath}; s.Protocol == HTTPPlatform && slices.Contains(own, name) {
			continue
		}
		kept = append(kept, entry)
	}
	return kept
}

// private reports whether a variable concerns the host alone.
func private(name string) bool {
	name = strings.ToUpper(name)
	for _, prefix := range []string{"PERCH_", "LISTEN_", "WATCHDOG_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	switch name {
	case "NOTIFY_SOCKET", "CREDENTIALS_DIRECTORY", "INVOCATION_ID", "JOURNAL_STREAM", "SYSTEMD_EXEC_PID", varPlatform, varInstance:
		return true
	}
	return false
}

// expand replaces %NAME% by the value that lookup has for it. Names without a
// value stay as they are, and values are not expanded again.
func expand(text string, lookup func(string) (string, bool)) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "%")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		name, after, closed := strings.Cut(rest, "%")
		if value, ok := lookup(name); closed && ok && name != "" {
			b.WriteString(value)
			text = after
			continue
		}
		b.WriteByte('%')
		text = rest
	}
}

// expandPort replaces %HTTP_PLATFORM_PORT%.
func expandPort(text, port string) string {
	return expand(text, func(name string) (string, bool) {
		return port, strings.EqualFold(name, varPlatform)
	})
}

// newGUID returns a random GUID (RFC 9562 section 5.4) in lower case.
func newGUID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:])
}
