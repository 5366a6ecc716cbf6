package main

import (
	"embed"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
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
	Certificate string // PEM file of certificate and key; empty: clear text
	Connections int    // to be able to hold
	Files       int    // that may be open
	Root        bool   // whether the bench runs as root
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
	return exec.Command(t.reverseProxy, s.Listen, s.Backend, s.Static, s.Certificate), nil
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

// ports gives loopback addresses to servers, one after another: who was given
// the last may not listen yet. The zero value begins with the lowest port.
type ports struct{ tried int }

// free returns an address that nobody listens on. Its port is none of those that
// the kernel gives to clients, or Perch to applications, so that nobody else is
// given it before the server has it.
func (p *ports) free() (string, error) {
	const first, beyond, tries = 2_000, 10_000, 100
	var err error
	for range tries {
		var l net.Listener
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(first+p.tried%(beyond-first)))
		p.tried++
		if l, err = net.Listen("tcp", addr); err == nil {
			return addr, l.Close()
		}
	}
	return "", err
}
