package plan

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/perchserver/perch/internal/config"
	"github.com/perchserver/perch/internal/config/merge"
	"github.com/perchserver/perch/internal/handler/aspnetcore"
	"github.com/perchserver/perch/internal/handler/forward"
	"github.com/perchserver/perch/internal/worker"
)

// application finds out whether the site's root is an application, and sets
// up its pool: the one that runs already, or a new one.
func (b *builder) application(s *merge.Settings) config.Problems {
	section := ""
	for _, e := range s.Section("system.webServer/handlers").Entries() {
		if name, ok := isApplication(e.Text("modules")); ok {
			section = name
			break
		}
	}
	if section == "" {
		return nil
	}
	e := s.Section(section)
	if !e.Present {
		return config.Problems{{Code: config.MissingAttribute, Subject: section, Pos: config.Pos{File: b.plan.WebConfig},
			Message:  "the handlers section gives requests to the application, but " + section + " is missing",
			Expected: "an element that says with processPath how the application is started"}}
	}
	set := b.workerSettings(s, e, section)
	app := &Application{Settings: set}
	keys := handlerSettings(e, section)
	app.IgnoreConfigChanges = strings.EqualFold(keys["disallowrotationonconfigchange"], "true")
	b.connect(set, e, keys)
	if b.prev != nil && b.prev.Application != nil {
		app.Pool, app.known = b.prev.Application.Pool, true
	} else {
		log := b.parts.Log
		if b.parts.AppLog != nil {
			log = b.parts.AppLog(set.Root, keys)
		}
		app.Pool = worker.New(set, b.parts.Machine, log)
	}
	b.plan.Application = app
	b.app = aspnetcore.Handler(aspnetcore.Settings{Acquire: func(ctx context.Context) (aspnetcore.Worker, error) {
		w, err := app.Pool.Acquire(ctx)
		if err != nil {
			return nil, err
		}
		return w, nil
	}})
	return nil
}

// workerSettings translates a section into the settings of a pool.
func (b *builder) workerSettings(s *merge.Settings, e merge.Element, section string) *worker.Settings {
	name := filepath.Base(b.in.Folder)
	set := &worker.Settings{
		Name:        name,
		Root:        b.in.Folder,
		VirtualPath: "/",
		Identity: worker.Identity{
			Version:       "10.0",
			AppPool:       name,
			SiteName:      name,
			SiteID:        "1",
			AppConfigPath: "MACHINE/WEBROOT/APPHOST/" + name,
			ApplicationID: "/LM/W3SVC/1/ROOT",
		},
		ProcessPath:         e.Text("processPath"),
		Arguments:           e.Text("arguments"),
		Host:                b.in.Environ,
		Secrets:             b.in.Secrets,
		User:                b.in.User,
		StartupTimeLimit:    time.Duration(e.Int("startupTimeLimit")) * time.Second,
		RapidFailsPerMinute: int(e.Int("rapidFailsPerMinute")),
		Processes:           int(e.Int("processesPerApplication")),
		NoWebSockets:        !s.Section("system.webServer/webSocket").Bool("enabled"),
	}
	for _, v := range e.Child("environmentVariables").Entries() {
		set.Environment = append(set.Environment, worker.Variable{Name: v.Text("name"), Value: v.Text("value")})
	}
	if e.Bool("stdoutLogEnabled") {
		set.StdoutLog = e.Text("stdoutLogFile")
	}
	if section == "system.webServer/httpPlatform" {
		set.Protocol = worker.HTTPPlatform
		set.ShutdownTimeLimit = 10 * time.Second
		if retries := e.Attribute("startupRetryCount"); retries.Set {
			set.Attempts = max(1, int(e.Int("startupRetryCount")))
		}
		return set
	}
	set.ShutdownTimeLimit = time.Duration(e.Int("shutdownTimeLimit")) * time.Second
	set.DisableStartUpErrorPage = e.Bool("disableStartUpErrorPage")
	if e.Text("hostingModel") == "inprocess" {
		b.note(config.Problems{{Code: config.NotDone, Severity: config.Warning, Pos: e.Attribute("hostingModel").Pos,
			Subject: section + "/@hostingModel",
			Message: `hostingModel="inprocess" is served out of process for now: the application runs in a process of its own`}})
	}
	return set
}

// connect gives the settings what joins a pool to the other stages.
func (b *builder) connect(set *worker.Settings, e merge.Element, keys map[string]string) {
	set.DiscardOutput = strings.EqualFold(keys["enableoutofprocessconsoleredirection"], "false")
	if out := b.parts.Output; out != nil {
		name := set.Name
		set.Line = func(pid int, stream string, line []byte) { out(name, pid, stream, line) }
	}
	set.AppOffline = worker.AppOfflineFile(b.in.Folder)
	timeout := e.Duration("requestTimeout")
	passConnection := strings.EqualFold(keys["forwardresponseconnectionheader"], "true")
	f, noWebSockets, path := b.parts.Forward, set.NoWebSockets, set.VirtualPath
	set.Connect = func(end worker.Endpoint) worker.Channel {
		return f.Channel(forward.Settings{
			Address:        end.Address,
			Token:          end.Token,
			VirtualPath:    path,
			RequestTimeout: timeout,
			PassConnection: passConnection,
			NoWebSockets:   noWebSockets,
			Linger:         end.Linger,
			Refused:        end.Refused,
		})
	}
}

// handlerSettings returns the handlerSetting entries by name in lower case;
// of two with one name the first counts (spec 1.2).
func handlerSettings(e merge.Element, section string) map[string]string {
	keys := make(map[string]string)
	if section != "system.webServer/aspNetCore" {
		return keys
	}
	for _, h := range slices.Backward(e.Child("handlerSettings").Entries()) {
		keys[strings.ToLower(h.Text("name"))] = h.Text("value")
	}
	return keys
}
