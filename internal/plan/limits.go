package plan

import (
	"log/slog"

	"github.com/perchserver/perch/internal/config"
	"github.com/perchserver/perch/internal/config/merge"
	"github.com/perchserver/perch/internal/serve"
)

const limitsSection = "perch/limits"

// connectionLimits is what every connection is held to, and where that is
// written.
func connectionLimits(s *merge.Settings, log *slog.Logger) (serve.Settings, config.Pos) {
	e := s.Section(limitsSection)
	set := serve.Settings{
		HeaderTime: e.Duration("headerWaitTimeout"),
		IdleTime:   e.Duration("connectionTimeout"),
		DrainTime:  e.Duration("drainTimeout"),
		BodyGrace:  e.Duration("minBytesGracePeriod"),
		MinRate:    e.Int("minBytesPerSecond"),
		Log:        log,

		Streams:      int(e.Int("maxStreamsPerConnection")),
		StreamWindow: int(e.Int("initialStreamWindowSize")),
		ConnWindow:   int(e.Int("initialConnectionWindowSize")),
		Flood:        int(e.Int("floodAllowance")),
		FloodSecond:  int(e.Int("floodAllowancePerSecond")),
	}
	set.Head.Line = int(e.Int("maxRequestLineSize"))
	set.Head.Fields = int(e.Int("maxRequestHeadersTotalSize"))
	set.Head.Count = int(e.Int("maxRequestHeaderCount"))
	return set, e.Pos()
}

// connections are the limits of the server's file. What IIS has in webLimits
// counts where Perch's own section does not set it.
func (s *server) connections(log *slog.Logger) serve.Settings {
	set, _ := connectionLimits(s.settings, log)
	own, web := s.settings.Section(limitsSection), s.settings.Section("system.applicationHost/webLimits")
	takes := func(ownName, webName string) bool { return !own.Attribute(ownName).Set && web.Attribute(webName).Set }
	if d := web.Duration("connectionTimeout"); takes("connectionTimeout", "connectionTimeout") && d > 0 {
		set.IdleTime = d
	}
	if d := web.Duration("headerWaitTimeout"); takes("headerWaitTimeout", "headerWaitTimeout") && d > 0 {
		set.HeaderTime = d
	}
	if n := web.Int("minBytesPerSecond"); takes("minBytesPerSecond", "minBytesPerSecond") && n > 0 {
		set.MinRate = n
	}
	return set
}

// misplacedLimits tells of limits that are set for a part of the site: when
// they apply, the URL of a request is not known yet. An administrator who
// wrote them there would trust in a limit that nobody keeps.
func (r *reader) misplacedLimits(s *merge.Settings) config.Problems {
	e := s.Section(limitsSection)
	if !e.Present || e.Pos() == r.limitsAt {
		return nil
	}
	p := config.Problem{
		Code: config.WrongFile, Subject: limitsSection, Pos: e.Pos(),
		Message:  "<limits> holds for all connections and cannot be set for a part of the site",
		Expected: limitsSection + " in the web.config at the root, outside of any <location> but that of \".\"",
	}
	if r.in.Server != "" {
		p.Message = "<limits> holds for all connections, which the sites share, and cannot be set for a part of the server"
		p.Expected = limitsSection + " in applicationHost.config, outside of any <location>"
	}
	return config.Problems{p}
}
