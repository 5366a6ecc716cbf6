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
	}
	set.Head.Line = int(e.Int("maxRequestLineSize"))
	set.Head.Fields = int(e.Int("maxRequestHeadersTotalSize"))
	set.Head.Count = int(e.Int("maxRequestHeaderCount"))
	return set, e.Pos()
}

// misplacedLimits tells of limits that are set for a part of the site: when
// they apply, the URL of a request is not known yet. An administrator who
// wrote them there would trust in a limit that nobody keeps.
func (r *reader) misplacedLimits(s *merge.Settings) config.Problems {
	e := s.Section(limitsSection)
	if !e.Present || e.Pos() == r.limitsAt {
		return nil
	}
	return config.Problems{{
		Code: config.WrongFile, Subject: limitsSection, Pos: e.Pos(),
		Message:  "<limits> holds for all connections and cannot be set for a part of the site",
		Expected: limitsSection + " in the web.config at the root, outside of any <location> but that of \".\"",
	}}
}
