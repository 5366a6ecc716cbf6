package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/perchserver/perch/internal/admin"
	"github.com/perchserver/perch/internal/certs"
	"github.com/perchserver/perch/internal/daemon"
	"github.com/perchserver/perch/internal/listen"
	"github.com/perchserver/perch/internal/logs"
	"github.com/perchserver/perch/internal/plan"
)

// defaultListen is where `perch run` listens when nobody says otherwise.
const defaultListen = "http://localhost:8080"

func (p *Process) runCommand() *cobra.Command {
	var server serverFlag
	var urls, certificates []string
	var passwordFile, clientCA, level string
	var asJSON bool
	c := &cobra.Command{
		Use:   "run [DIR | --config FILE]",
		Short: "Serve a folder, or the sites of an applicationHost.config",
		Long: `Serve the application in DIR (the current folder if none is given), starting
it on the first request. DIR is what "dotnet publish" wrote, or any folder with
a web.config; without one, Perch looks at what the folder holds. With --config,
or where there is a perch.config in the current folder, serve the sites of an
applicationHost.config, where they have their bindings; one by which nothing
would listen is an error.

When it is ready, run prints one line for each listening URL. It serves until
it is told to stop: TERM or INT (Ctrl-C) lets requests in flight end, for 30
seconds at most, a second one stops at once, unless it comes within half a
second. HUP reads the configuration again, as "perch reload" does.

A listening URL is http://HOST:PORT, https://HOST:PORT or unix:PATH. An IP
address, * or localhost serves every host name, any other name is the only one
served. Port 0 takes a free one.

https needs certificates: --cert names a PEM file, a PFX file, or a folder of
them named after hosts. Clients are shown the one that fits the name they ask
for, else the first. What cannot be used keeps run from starting, and so does a
--cert where no URL is https; a file that changes later is read again. Without
--cert, localhost gets a development certificate (see perch trust).`,
		Example: "  perch run ./publish\n  perch run ./publish --listen 'http://*:80' --listen unix:/run/shop.sock\n" +
			"  perch run ./publish --listen https://localhost:8443\n" +
			"  perch run ./publish --listen 'https://*:443' --cert shop.crt,shop.key\n" +
			"  perch run --config /etc/perch/applicationHost.config",
		Args: args(0, 1, "at most one folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			served, err := server.subject(args)
			if err != nil {
				return err
			}
			if served.Bindings, err = listening(cmd, served, urls); err != nil {
				return err
			}
			if served.Server == "" && !slices.ContainsFunc(served.Bindings, overTLS) {
				if err := leaveOut(cmd, "cert", "cert-password-file", "client-ca"); err != nil {
					return err
				}
				certificates, passwordFile, clientCA = nil, "", ""
			}
			if len(certificates) == 0 {
				if err := needsCert(cmd); err != nil {
					return err
				}
			}
			sources, err := p.certificateSources(certificates, passwordFile, served.Bindings)
			if err != nil {
				return err
			}
			if clientCA, err = authorities(clientCA); err != nil {
				return err
			}
			log, err := p.logger(level)
			if err != nil {
				return err
			}
			return p.run(daemon.Options{Server: served.Server, Folder: served.Folder, Bindings: served.Bindings, Certificates: sources, ClientAuthorities: clientCA, Environ: p.Environ, Log: log,
				Executable: executable(), GuardianArgs: []string{guardianRole}, Version: thisVersion().Version,
				Control: admin.Folder(p.getenv), Stderr: p.Stderr}, asJSON)
		},
	}
	server.add(c)
	c.Flags().StringArrayVarP(&urls, "listen", "l", nil, "listening `URL`, repeatable (default "+defaultListen+")")
	c.Flags().StringArrayVar(&certificates, "cert", nil, "certificate for https, repeatable: a PEM or PFX `FILE`, FILE,KEYFILE, or a folder")
	c.Flags().StringVar(&passwordFile, "cert-password-file", "", "`file` with the password of PFX files (or its text in PERCH_CERT_PASSWORD)")
	c.Flags().StringVar(&clientCA, "client-ca", "", "PEM `file` of who vouches for client certificates (default: whom the system trusts)")
	c.Flags().StringVar(&level, "log-level", "info", "least `level` that is logged: debug, info, warn or error")
	c.Flags().BoolVar(&asJSON, "json", false, "print the listening URLs as one JSON object")
	return c
}

// executable is this program, for the guardian's role. On Linux the path
// stays right when the file is replaced by a newer one.
func executable() string {
	const self = "/proc/self/exe"
	if _, err := os.Stat(self); err == nil {
		return self
	}
	path, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return path
}

// serverFlag is the flag --config, which names an applicationHost.config.
type serverFlag string

func (f *serverFlag) add(c *cobra.Command) {
	c.Flags().StringVar((*string)(f), "config", "", "the sites of this applicationHost.config `FILE` (default perch.config, if it is in the current folder and no DIR is given)")
}

// subject is what a command is about: the file of the flag, or the folder that
// is its argument. Where there is neither it is the perch.config in the current
// folder, as for the commands that edit sites, or else that folder.
func (f serverFlag) subject(args []string) (plan.Input, error) {
	if f == "" && len(args) == 0 {
		if isFile(defaultConfig) {
			f = defaultConfig
		}
	}
	if f == "" && len(args) > 0 && isFile(args[0]) && !strings.EqualFold(filepath.Base(args[0]), "web.config") {
		return plan.Input{}, fmt.Errorf("%s is a file, and not a folder; the sites of an applicationHost.config are those of --config %[1]s", args[0])
	}
	if f == "" {
		folder, err := folderArgument(args)
		return plan.Input{Folder: folder}, err
	}
	if len(args) > 0 {
		return plan.Input{}, usageError{errors.New("a folder and --config exclude each other"), "give one of them; PERCH_CONFIG in the environment counts as --config"}
	}
	path, err := filepath.Abs(string(f))
	if err != nil {
		return plan.Input{}, fmt.Errorf("file %s: %w", f, err)
	}
	return plan.Input{Server: path}, nil
}

func folderArgument(args []string) (string, error) {
	dir := "."
	if len(args) > 0 {
		dir = args[0]
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("folder %s: %w", dir, err)
	}
	return abs, nil
}

// overTLS reports whether a listening URL is one of https.
func overTLS(b listen.Binding) bool { return b.TLS }

// leaveOut refuses flags that are for https, where no listening URL is.
func leaveOut(cmd *cobra.Command, flags ...string) error {
	for _, f := range flags {
		if cmd.Flags().Changed(f) {
			return usageError{fmt.Errorf("--%s is for https, and no --listen URL is one", f), "write --listen https://..., or leave --" + f + " out"}
		}
	}
	return nil
}

// needsCert refuses the password of a --cert that is not there.
func needsCert(cmd *cobra.Command) error {
	if !cmd.Flags().Changed("cert-password-file") {
		return nil
	}
	return usageError{errors.New("--cert-password-file is for the files of --cert, and there is none"), "name one: --cert FILE"}
}

// listening returns where a folder listens. Sites have bindings of their own.
func listening(cmd *cobra.Command, in plan.Input, urls []string) ([]listen.Binding, error) {
	switch {
	case in.Server == "":
		return parseListen(urls)
	case cmd.Flags().Changed("listen"):
		return nil, usageError{fmt.Errorf("--listen is not for the sites of %s", in.Server), "they have bindings of their own; give the DIR of one folder, or leave --listen out"}
	}
	return nil, nil
}

// parseListen reads all listening URLs and names all that are wrong.
func parseListen(urls []string) ([]listen.Binding, error) {
	if len(urls) == 0 {
		urls = []string{defaultListen}
	}
	var bindings []listen.Binding
	var errs []error
	for _, u := range urls {
		b, err := listen.Parse(u)
		bindings, errs = append(bindings, b), append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		if url := fromInformation(urls); url != "" {
			return nil, usageError{err, "that is how IIS writes a binding; its URL is " + url}
		}
		return nil, usageError{err, "a listening URL looks like http://localhost:8080, https://localhost:8443 or unix:/run/perch.sock"}
	}
	return bindings, nil
}

// fromInformation returns the URL of the first of urls that is a
// bindingInformation of IIS, such as *:8080:shop.localhost; "" if none is that a
// URL says all of.
func fromInformation(urls []string) string {
	for _, u := range urls {
		if b, err := listen.ParseInformation("http", u); err == nil && (b.Host == "" || !b.Addr.IsValid()) {
			return b.URL
		}
	}
	return ""
}

// certificateSources reads what the flags say of certificates. What cannot be
// used now is a mistake, for whoever made it sits there; what becomes of the
// files later is looked at when they are used.
func (p *Process) certificateSources(flags []string, passwordFile string, bindings []listen.Binding) ([]certs.Source, error) {
	var all []certs.Source
	var errs []error
	for _, flag := range flags {
		path, key, _ := strings.Cut(flag, ",")
		s := certs.Source{Path: path, Key: key, PasswordFile: passwordFile, Password: p.getenv("PERCH_CERT_PASSWORD")}
		for _, name := range []*string{&s.Path, &s.Key, &s.PasswordFile} {
			if *name == "" {
				continue
			}
			abs, err := filepath.Abs(*name)
			if err != nil {
				return nil, err
			}
			*name = abs
		}
		if err := s.Try(); err != nil {
			errs = append(errs, fmt.Errorf("certificate of --cert %s: %w", flag, err))
		}
		all = append(all, s)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for _, b := range bindings {
		if len(all) > 0 {
			break
		}
		if err := needCertificate(b); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// needCertificate refuses a listening URL for which there has to be a --cert.
func needCertificate(b listen.Binding) error {
	if !b.TLS || plan.Development(b) {
		return nil
	}
	return usageError{fmt.Errorf("%s needs a certificate", b.URL),
		"name its file: --cert FILE; without one, https is for localhost alone, such as https://localhost:8443"}
}

// authorities reads the flag that says who vouches for clients.
func authorities(flag string) (path string, err error) {
	if flag == "" {
		return "", nil
	}
	if path, err = filepath.Abs(flag); err != nil {
		return "", err
	}
	if _, err = certs.Authorities(path); err != nil {
		return "", fmt.Errorf("certificates of --client-ca %s: %w", flag, err)
	}
	return path, nil
}

// logger returns the host's log: lines of text on a terminal, JSON elsewhere.
func (p *Process) logger(level string) (*slog.Logger, error) {
	var least slog.Level
	if err := least.UnmarshalText([]byte(level)); err != nil {
		return nil, usageError{fmt.Errorf("log level %q is not known", level), "the levels are debug, info, warn and error"}
	}
	return logs.For(p.Stderr, p.getenv, least), nil
}

// run starts the daemon, tells where it listens, and obeys signals.
func (p *Process) run(o daemon.Options, asJSON bool) error {
	d, err := daemon.Start(o)
	if err != nil {
		return err
	}
	if err := p.printURLs(d.URLs(), asJSON); err != nil {
		o.Log.Error("cannot print the listening URLs", "err", err)
	}
	return obey(p.Signals, func(why string) { d.Reload(why) }, d.Stop, o.Log)
}

// drainTime is how long requests in flight may take to end after the first
// signal to stop.
const drainTime = 30 * time.Second

// echoTime is how long a signal to stop may come again and mean the same:
// timeout(1) and some supervisors send it to the process and to its group.
const echoTime = 500 * time.Millisecond

// obey does what signals say until the host has stopped.
func obey(signals <-chan os.Signal, reload func(string), stop func(context.Context, time.Duration) error, log *slog.Logger) error {
	for s := range signals {
		if isReload(s) {
			reload("signal " + s.String())
			continue
		}
		log.Info("stopping: requests in flight may end", "signal", s.String())
		break
	}
	first := time.Now()
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	stopped := make(chan error, 1)
	go func() { stopped <- stop(ctx, drainTime) }()
	for {
		select {
		case err := <-stopped:
			return err
		case s := <-signals:
			if !isReload(s) && time.Since(first) >= echoTime {
				log.Warn("stopping at once", "signal", s.String())
				cancel(fmt.Errorf("there was a second signal to stop (%v)", s))
			}
		}
	}
}

func (p *Process) printURLs(urls []string, asJSON bool) error {
	if asJSON {
		return p.printJSON(struct {
			Listening []string `json:"listening"`
		}{urls})
	}
	for _, u := range urls {
		if _, err := fmt.Fprintln(p.Stdout, u); err != nil {
			return err
		}
	}
	return nil
}
