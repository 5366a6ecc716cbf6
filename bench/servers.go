package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"text/template"
	"time"
)

// A server is one of those that are compared.
type server struct {
	name  string
	title string
	// command prepares what the server needs in s.Dir and returns how it is
	// started in the foreground.
	command func(t tools, k kind, s settings) (*exec.Cmd, error)
}

// baseline is the server that all ratios are to.
const baseline = "nginx"

func allServers() []server {
	return []server{
		{"perch", "Perch", perchCommand},
		{"nginx", "nginx", nginxCommand},
		{"haproxy", "HAProxy", haproxyCommand},
		{"caddy", "Caddy", caddyCommand},
		{"reverseproxy", "Go ReverseProxy", reverseProxyCommand},
	}
}

func serverNames() []string {
	var names []string
	for _, s := range allServers() {
		names = append(names, s.name)
	}
	return names
}

// settings are what configuration files are made of.
type settings struct {
	Dir         string // of this server alone
	Listen      string // address
	Backend     string // address
	Static      string // folder of the files
	Folder      string // of the site that is measured
	Application string // the backend's program, for those who start it themselves
	Token       string
	Connections int  // to be able to hold
	Files       int  // that may be open
	Root        bool // whether the bench runs as root
}

//go:embed conf/*
var conf embed.FS

// fill writes the configuration file name into s.Dir.
func (s settings) fill(name string) (string, error) {
	t, err := template.ParseFS(conf, "conf/"+name)
	if err != nil {
		return "", err
	}
	f, err := os.Create(filepath.Join(s.Dir, name))
	if err != nil {
		return "", err
	}
	return f.Name(), errors.Join(t.Execute(f, s), f.Close())
}

// Perch is given three sites, as others are, and starts the application of the
// one that is measured by itself. A Go handler that answers in Perch's own
// process is a program of the bench.
func perchCommand(t tools, k kind, s settings) (*exec.Cmd, error) {
	if k == inline {
		return exec.Command(t.inline, s.Listen), nil
	}
	s.Folder = filepath.Dir(s.Static)
	if k == proxied {
		if _, err := s.fill("web.config"); err != nil {
			return nil, err
		}
		s.Folder = s.Dir
	}
	file, err := s.fill("applicationHost.config")
	return exec.Command(t.perch, "run", "--config", file), err
}

func nginxCommand(t tools, _ kind, s settings) (*exec.Cmd, error) {
	file, err := s.fill("nginx.conf")
	return t.debian(t.nginx, "-p", s.Dir, "-e", "stderr", "-c", file), err
}

func haproxyCommand(t tools, _ kind, s settings) (*exec.Cmd, error) {
	file, err := s.fill("haproxy.cfg")
	return t.debian(t.haproxy, "-db", "-f", file), err
}

func caddyCommand(t tools, _ kind, s settings) (*exec.Cmd, error) {
	file, err := s.fill("Caddyfile")
	c := t.debian(t.caddy, "run", "--adapter", "caddyfile", "--config", file)
	c.Env = append(c.Environ(), "HOME="+s.Dir, "XDG_CONFIG_HOME="+s.Dir, "XDG_DATA_HOME="+s.Dir)
	return c, err
}

func reverseProxyCommand(t tools, _ kind, s settings) (*exec.Cmd, error) {
	return exec.Command(t.reverseProxy, s.Listen, s.Backend, s.Static), nil
}

// An instance is a server that runs.
type instance struct {
	server server
	addr   string
	pid    int
	output string // file
	ended  chan struct{}
}

// launch starts the command of a server or of the backend; what it prints
// goes to a file in dir. Nobody waits here until it listens.
func launch(c *exec.Cmd, addr, dir string) (*instance, error) {
	out, err := os.Create(filepath.Join(dir, "output"))
	if err != nil {
		return nil, err
	}
	defer out.Close()
	c.Stdout, c.Stderr = out, out
	if err := c.Start(); err != nil {
		return nil, err
	}
	i := &instance{addr: addr, pid: c.Process.Pid, output: out.Name(), ended: make(chan struct{})}
	go func() {
		c.Wait()
		close(i.ended)
	}()
	return i, nil
}

// stop ends the server and all that it started: by a signal, and after a few
// seconds by force. It returns when the server has ended.
func (i *instance) stop() {
	const patience = 5 * time.Second
	all, _ := tree(i.pid, "")
	syscall.Kill(i.pid, syscall.SIGTERM)
	select {
	case <-i.ended:
		return
	case <-time.After(patience):
	}
	for _, p := range all {
		syscall.Kill(p.pid, syscall.SIGKILL)
	}
	<-i.ended
}

// ready waits until the server answers as the case wants it: at least one
// request of its kind goes through, and the backend sees the fields that all
// proxies have to add. A server that does less is not measured.
func (i *instance) ready(ctx context.Context, c testCase) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	for {
		err := i.check(ctx, c)
		if err == nil {
			return nil
		}
		select {
		case <-i.ended:
			return fmt.Errorf("%s ended: %s", i.server.title, i.said())
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer as it should: %w\n%s", i.server.title, err, i.said())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (i *instance) said() string {
	out, _ := os.ReadFile(i.output)
	return string(out[max(0, len(out)-2000):])
}

func (i *instance) check(ctx context.Context, c testCase) error {
	body, err := i.ask(ctx, c.path, c.send)
	if err != nil {
		return err
	}
	if len(body) != c.reply {
		return fmt.Errorf("%s has %d bytes instead of %d", c.path, len(body), c.reply)
	}
	if c.kind != proxied {
		return nil
	}
	head, err := i.ask(ctx, "/fields", 0)
	if err != nil {
		return err
	}
	for _, name := range []string{"X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: http", "MS-ASPNETCORE-TOKEN: "} {
		if !strings.Contains(strings.ToLower(string(head)), "\r\n"+strings.ToLower(name)) {
			return fmt.Errorf("the backend sees no %q in %q", name, head)
		}
	}
	return nil
}

// ask sends one request over a connection of its own, and wants 200.
func (i *instance) ask(ctx context.Context, path string, send int) ([]byte, error) {
	method, upload := http.MethodGet, io.Reader(nil)
	if send > 0 {
		method, upload = http.MethodPost, strings.NewReader(strings.Repeat("perch on", send/8))
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://"+i.addr+path, upload)
	if err != nil {
		return nil, err
	}
	r.Close = true
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", path, resp.Status)
	}
	return io.ReadAll(resp.Body)
}

// freeAddress returns a loopback address that nobody listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
