package harness

import (
	"encoding/xml"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// App is one of the fixture applications.
type App struct {
	Name string
	// Module is "aspNetCore" if the application speaks the protocol of the
	// module, "httpPlatform" if it only knows a port.
	Module string

	// HTTP2 tells that the application speaks HTTP/2, and nothing else.
	HTTP2 bool
}

// The fixture applications that have the same endpoints.
func Apps() []App {
	return []App{{"aspnetcore31", "aspNetCore", false}, {"node", "httpPlatform", false}, Go()}
}

// Go is the application that starts fast.
func Go() App { return App{"go", "aspNetCore", false} }

// OverHTTP2 is the same application, spoken to over HTTP/2.
func (a App) OverHTTP2() App {
	a.HTTP2 = true
	return a
}

// GRPC is an application of gRPC alone.
func GRPC() App { return App{"grpc", "aspNetCore", true} }

// String names the application and how it is spoken to.
func (a App) String() string {
	if a.HTTP2 {
		return a.Name + "-over-HTTP2"
	}
	return a.Name
}

// WebSockets reports whether the application takes WebSockets as it is spoken
// to. Over HTTP/2, ASP.NET Core does since version 7.
func (a App) WebSockets() bool { return !a.HTTP2 || a.Name != "aspnetcore31" }

// HTTP2Config is the web.config of such an application: the setting for its
// host, and for itself what it has to know.
func (a App) HTTP2Config() WebConfig {
	c := WebConfig{Settings: map[string]string{"perch.applicationProtocol": "Http2"}}
	if a.Name == "aspnetcore31" {
		c.Attrs = map[string]string{"processPath": "dotnet", "arguments": `.\app.dll`}
		c.Env = map[string]string{"Kestrel__EndpointDefaults__Protocols": "Http2"}
	} else {
		c.Env = map[string]string{"APP_HTTP2": "1", "GODEBUG": "http2xconnect=1"}
	}
	return c
}

// DotNet is the real ASP.NET Core application.
func DotNet() App { return Apps()[0] }

// Folder copies the published application into a folder of the test.
func (a App) Folder(t testing.TB) string {
	t.Helper()
	from := cache("apps", a.Name)
	if _, err := os.Stat(from + ".sum"); err != nil && a.Name != "go" && a.Name != "grpc" {
		Lack(t, "the application %s is not there; `make fixtures` makes it", a.Name)
	}
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} { // other users may run it
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	to := filepath.Join(dir, "app")
	if err := copyTree(from, to); err != nil {
		t.Fatal(err)
	}
	return to
}

// Env is what the application needs in the environment of its host.
func (a App) Env(t testing.TB) []string {
	t.Helper()
	if a.Name != "aspnetcore31" {
		return nil
	}
	data, err := os.ReadFile(cache("dotnet", "env"))
	if err != nil {
		Lack(t, "the .NET runtime is not there; `make fixtures` installs it")
	}
	env := strings.Split(strings.TrimSpace(string(data)), "\n")
	for _, e := range env {
		if root, ok := strings.CutPrefix(e, "DOTNET_ROOT="); ok {
			env = append(env, "PATH="+root+":"+os.Getenv("PATH"))
		}
	}
	return env
}

// Start runs a copy of the application.
func (a App) Start(t testing.TB, change ...func(*Run)) *Host {
	t.Helper()
	r := Run{Dir: a.Folder(t), Env: a.Env(t)}
	if a.HTTP2 {
		a.HTTP2Config().Write(t, r.Dir)
	}
	for _, f := range change {
		f(&r)
	}
	return Start(t, r)
}

// Lack skips the test for want of a fixture, which CI must have.
func Lack(t testing.TB, format string, a ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf(format, a...)
	}
	t.Skipf(format, a...)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// RawBackend returns a folder with the raw backend and a web.config for it.
func RawBackend(t testing.TB, c WebConfig) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "app")
	if err := copyTree(cache("apps", "rawbackend"), dir); err != nil {
		t.Fatal(err)
	}
	c.Write(t, dir)
	return dir
}

// WebConfig describes a web.config as the SDK would write it, with changes.
type WebConfig struct {
	Attrs    map[string]string // of aspNetCore; processPath is .\app.exe unless given
	Env      map[string]string
	Settings map[string]string // handlerSettings
	Inner    string            // more elements inside aspNetCore
	More     string            // more elements inside system.webServer
	Limits   string            // attributes of perch/limits
}

// XML returns the file.
func (c WebConfig) XML() string {
	var b strings.Builder
	b.WriteString(`<?xml version="1.0" encoding="utf-8"?>
<configuration>
  <location path="." inheritInChildApplications="false">
    <system.webServer>
      <handlers>
        <add name="aspNetCore" path="*" verb="*" modules="AspNetCoreModuleV2" resourceType="Unspecified" />
      </handlers>
      <aspNetCore`)
	attrs := map[string]string{"processPath": `.\app.exe`, "hostingModel": "outofprocess"}
	maps.Copy(attrs, c.Attrs)
	for _, k := range slices.Sorted(maps.Keys(attrs)) {
		fmt.Fprintf(&b, " %s=\"%s\"", k, escape(attrs[k]))
	}
	b.WriteString(">\n")
	collection(&b, "environmentVariables", "environmentVariable", c.Env)
	collection(&b, "handlerSettings", "handlerSetting", c.Settings)
	b.WriteString(c.Inner)
	b.WriteString("      </aspNetCore>\n" + c.More + "    </system.webServer>\n  </location>\n")
	if c.Limits != "" {
		b.WriteString("  <perch><limits " + c.Limits + " /></perch>\n")
	}
	b.WriteString("</configuration>\n")
	return b.String()
}

func collection(b *strings.Builder, name, item string, items map[string]string) {
	if len(items) == 0 {
		return
	}
	fmt.Fprintf(b, "        <%s>\n", name)
	for _, k := range slices.Sorted(maps.Keys(items)) {
		fmt.Fprintf(b, "          <%s name=\"%s\" value=\"%s\" />\n", item, escape(k), escape(items[k]))
	}
	fmt.Fprintf(b, "        </%s>\n", name)
}

func escape(s string) string {
	var b strings.Builder
	xml.EscapeText(&b, []byte(s))
	return b.String()
}

// Write puts the file into a folder, complete at once.
func (c WebConfig) Write(t testing.TB, dir string) {
	t.Helper()
	WriteFile(t, filepath.Join(dir, "web.config"), c.XML())
}

// Use is a change of a Run that gives the application this web.config.
func (c WebConfig) Use(t testing.TB) func(*Run) {
	return func(r *Run) { c.Write(t, r.Dir) }
}

// WriteFile puts a file in its place by renaming, so that nobody sees half of
// it.
func WriteFile(t testing.TB, path, content string) {
	t.Helper()
	part := path + ".part"
	if err := os.WriteFile(part, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(part, path); err != nil {
		t.Fatal(err)
	}
}

// copyTree leaves the copying to another process: a file that this one has
// open for writing while it starts a program cannot be executed meanwhile,
// because the descriptor lives on in the new process for a moment.
func copyTree(from, to string) error {
	if out, err := exec.Command("cp", "-R", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("copy %s: %w: %s", from, err, out)
	}
	return nil
}

// Replace puts a fresh copy of a file in its place, as a deployment does.
func Replace(t testing.TB, path string) {
	t.Helper()
	if err := copyTree(path, path+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}
