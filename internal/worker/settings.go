package worker

import (
	"time"

	"github.com/perchserver/perch/internal/worker/spawn"
)

// Settings say how one application is run. They are never changed: a new
// configuration makes new ones for Pool.Replace.
type Settings struct {
	Name        string // names the application in logs and reports
	Root        string // absolute path of the application's folder
	VirtualPath string // "/" or "/app/sub"; empty is "/"
	Identity    Identity
	Protocol    Protocol

	ProcessPath string     // as configured: relative, with back-slashes, with .exe
	Arguments   string     // raw tail of the command line, quoted by the rules of Windows
	Environment []Variable // in the order of the file; the last of a name wins

	// Host is the host's own environment ("NAME=value"). The application
	// inherits it, except for what concerns the host alone: PERCH_*,
	// NOTIFY_SOCKET, LISTEN_* and the like, and the names in Secrets.
	Host    []string
	Secrets []string

	StartupTimeLimit  time.Duration // per attempt
	ShutdownTimeLimit time.Duration // 0: kill at once

	// DrainTimeLimit bounds how long a worker that was replaced may still
	// serve the exchanges it has in flight. 0 is 90 seconds, IIS's time
	// limit for a worker process that is recycled with overlap.
	DrainTimeLimit time.Duration

	Attempts            int // per start; 0 is 2
	RapidFailsPerMinute int // 0 blocks after the first failure
	Processes           int // processesPerApplication; 0 is 1

	DiscardOutput bool   // enableOutOfProcessConsoleRedirection="false": neither captured nor logged
	StdoutLog     string // path prefix of the stdout log; empty: none

	// Line is given each line of the application's output, without its end,
	// by a goroutine of the capture. It may be nil.
	Line func(pid int, stream string, line []byte)

	HTTPSPort    uint16 // the site's only https port; 0: none, or several
	HTTPAuth     string // value of ASPNETCORE_IIS_HTTPAUTH; empty is "anonymous;"
	NoWebSockets bool   // the webSocket section switches them off
	HTTP2        bool   // the application is spoken to over HTTP/2; for Connect

	User *Account // nil: the host's own user

	DisableStartUpErrorPage bool // a failed start is answered 502.3 without a body

	// AppOffline reads app_offline.htm, and reports whether it is there. Its
	// content is nil when it is there and cannot be read. Nil: never there.
	AppOffline func() (content []byte, present bool)

	// Connect makes the channel to a worker that was found listening.
	Connect func(Endpoint) Channel
}

// Account is a user to run as, with what the environment says of it.
type Account struct {
	spawn.User
	Name string
	Home string
}

// Identity is what the ASPNETCORE_IIS_* variables tell an application of its
// place (spec 2.4). Empty values are not passed on.
type Identity struct {
	Version       string // "10.0"
	AppPool       string
	AppPoolConfig string
	SiteName      string
	SiteID        string
	AppConfigPath string // MACHINE/WEBROOT/APPHOST/<site>[/app]
	ApplicationID string // /LM/W3SVC/<n>/ROOT[/app]
}

// Protocol is how host and application agree on port, token and shutdown.
type Protocol uint8

const (
	// AspNetCore is the ASP.NET Core Module's: ASPNETCORE_PORT,
	// ASPNETCORE_TOKEN, ASPNETCORE_APPL_PATH and the shutdown request.
	AspNetCore Protocol = iota

	// HTTPPlatform is HttpPlatformHandler's: HTTP_PLATFORM_PORT, also in the
	// arguments and in the values of variables. It has no shutdown request.
	HTTPPlatform
)

// Variable is one environment variable.
type Variable struct{ Name, Value string }

// Numbers of the module's event log entries (spec 5.5), logged as "event".
const (
	EventAttemptFailed  = 1000
	EventStarted        = 1001 // also: no port could be chosen
	EventRapidFail      = 1003
	EventStdoutLog      = 1004
	EventShutdownFailed = 1005
	EventShutdownSent   = 1006
	EventAppOffline     = 1012
	EventStartFailed    = 1020
	EventConfigChanged  = 1021
	EventRecycleFailed  = 1022
	EventExited         = 1030
	EventShutDown       = 1033
)

// user is the identity to run as, nil for the host's own.
func (s *Settings) user() *spawn.User {
	if s.User == nil {
		return nil
	}
	return &s.User.User
}

func (s *Settings) virtualPath() string {
	if s.VirtualPath == "" {
		return "/"
	}
	return s.VirtualPath
}

// attempts is how often one start tries. A command or an environment that is
// wrong is not tried again.
func (s *Settings) attempts() int {
	if s.Attempts <= 0 {
		return 2
	}
	return s.Attempts
}

// processes is the number of slots. A configured port has room for one.
func (s *Settings) processes() int {
	if s.Processes <= 1 || s.portConfigured() {
		return 1
	}
	return s.Processes
}

func (s *Settings) drainTimeLimit() time.Duration {
	switch {
	case s.DrainTimeLimit > 0:
		return s.DrainTimeLimit
	default:
		return 90 * time.Second
	}
}
