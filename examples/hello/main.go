// Command hello is an example of an application for Perch: an ordinary
// net/http server with one page, which shows what it saw of the request.
//
//	go run ./cmd/perch run ./examples/hello
//
// It uses the standard library alone, to show all that the host gives to an
// application: the port to listen on, the pairing token by which it knows its
// host, the path under which it is published, and the header fields that tell
// of the client.
package main

import (
	"context"
	_ "embed"
	"errors"
	"html/template"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"
)

//go:embed page.html
var page string

func main() {
	if err := run(); err != nil {
		log.Fatalf("hello: %v", err)
	}
}

func run() error {
	a := &application{
		page:  template.Must(template.New("page").Parse(page)),
		token: os.Getenv("ASPNETCORE_TOKEN"),
		base:  strings.TrimSuffix(os.Getenv("ASPNETCORE_APPL_PATH"), "/"),
		since: time.Now(),
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a.stop = stop

	port := os.Getenv("ASPNETCORE_PORT")
	if port == "" {
		port = "5000" // started by hand
	}
	srv := &http.Server{Addr: net.JoinHostPort("127.0.0.1", port), Handler: a, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- srv.ListenAndServe() }()
	log.Printf("hello: listening on http://%s", srv.Addr)

	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := srv.Shutdown(grace); err != nil {
		return err
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// application answers every request with its page.
type application struct {
	page  *template.Template
	token string // "" when there is no host
	base  string // the path that the application is published under, "" for the root
	since time.Time
	stop  func()
}

func (a *application) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// Whoever does not know the token goes around the host.
	if a.token != "" && r.Header.Get("MS-ASPNETCORE-TOKEN") != a.token {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	path, ok := strings.CutPrefix(r.URL.Path, a.base)
	if !ok {
		http.NotFound(w, r)
		return
	}
	if r.Method == http.MethodPost && path == "/iisintegration" && r.Header.Get("MS-ASPNETCORE-EVENT") == "shutdown" {
		w.WriteHeader(http.StatusAccepted)
		a.stop()
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if err := a.page.Execute(w, a.seen(r, path)); err != nil {
		log.Printf("hello: write page: %v", err)
	}
}

// row is one line of the page.
type row struct{ Name, Value, Origin string }

func (a *application) seen(r *http.Request, path string) any {
	base := a.base
	if base == "" {
		base = "/"
	}
	return struct {
		Rows    []row
		Runtime string
		Pid     int
		Up      time.Duration
	}{
		Rows: []row{
			{"Scheme", last(r, "X-Forwarded-Proto", "http"), "X-Forwarded-Proto"},
			{"Host", r.Host, "Host"},
			{"Client", last(r, "X-Forwarded-For", r.RemoteAddr), "X-Forwarded-For"},
			{"Path base", base, "ASPNETCORE_APPL_PATH"},
			{"Path", path, "request line"},
			{"Query", r.URL.RawQuery, "request line"},
			{"Method", r.Method, "request line"},
			{"Browser", r.UserAgent(), "User-Agent"},
		},
		Runtime: runtime.Version() + " on " + runtime.GOOS + "/" + runtime.GOARCH,
		Pid:     os.Getpid(),
		Up:      time.Since(a.since).Round(time.Second),
	}
}

// last returns the right-most entry of a list field: the one that the host
// added. What stands before it was said by strangers.
func last(r *http.Request, name, fallback string) string {
	all := strings.Split(strings.Join(r.Header.Values(name), ","), ",")
	if v := strings.TrimSpace(all[len(all)-1]); v != "" {
		return v
	}
	return fallback
}
