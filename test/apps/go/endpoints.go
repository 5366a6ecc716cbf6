package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/coder/websocket"
)

// application holds what the endpoints share.
type application struct {
	shutdown func()

	mu      sync.Mutex
	aborted map[string]bool              // by id of a /hang request
	sockets map[*websocket.Conn]struct{} // open now
}

func newApplication(shutdown func()) *application {
	return &application{
		shutdown: shutdown,
		aborted:  map[string]bool{},
		sockets:  map[*websocket.Conn]struct{}{},
	}
}

func (a *application) handler() http.Handler {
	mux := map[string]http.HandlerFunc{
		"/env": env, "/process": process, "/echo": echo, "/upload": upload, "/download": download,
		"/stream": stream, "/sse": sse, "/ws": a.ws, "/slow": slow, "/hang": a.hang,
		"/abort-seen": a.abortSeen, "/abort": abort, "/crash": crash, "/exit": exit,
		"/shutdown": a.stop, "/status": status, "/headers": headers, "/spawn": spawn,
		"/stdout": output(os.Stdout), "/stderr": output(os.Stderr), "/early": early,
	}
	return tunnelled(paired(a.shutdown, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, path := pathBase(r.URL.Path)
		if h, ok := mux[path]; ok {
			h(w, r)
			return
		}
		seen(w, r)
	})))
}

func seen(w http.ResponseWriter, r *http.Request) {
	base, path := pathBase(r.URL.Path)
	query := ""
	if r.URL.RawQuery != "" || r.URL.ForceQuery {
		query = "?" + r.URL.RawQuery
	}
	fields := [][2]string{{"Host", r.Host}}
	for name, values := range r.Header {
		for _, v := range values {
			fields = append(fields, [2]string{name, v})
		}
	}
	writeJSON(w, map[string]any{
		"app": "go", "scheme": scheme(r), "host": r.Host, "pathBase": base, "path": path,
		"rawTarget": r.RequestURI, "query": query, "remote": remote(r), "protocol": r.Proto,
		"method": r.Method, "pid": os.Getpid(), "headers": fields,
	})
}

func env(w http.ResponseWriter, _ *http.Request) {
	all := map[string]string{}
	for _, e := range os.Environ() {
		name, value, _ := strings.Cut(e, "=")
		all[name] = value
	}
	writeJSON(w, all)
}

func process(w http.ResponseWriter, _ *http.Request) {
	dir, _ := os.Getwd()
	writeJSON(w, map[string]any{"pid": os.Getpid(), "cwd": dir, "args": os.Args[1:], "uid": os.Getuid()})
}

func echo(w http.ResponseWriter, r *http.Request) {
	if t := r.Header.Get("Content-Type"); t != "" {
		w.Header().Set("Content-Type", t)
	}
	if r.URL.Query().Has("trailers") {
		w.Header().Set("Trailer", "X-Check, X-Request-Trailer")
		defer func() {
			w.Header().Set("X-Check", "echoed")
			w.Header().Set("X-Request-Trailer", r.Trailer.Get("X-Sent"))
		}()
	}
	http.NewResponseController(w).EnableFullDuplex()
	io.Copy(flushing{w}, r.Body)
}

func upload(w http.ResponseWriter, r *http.Request) {
	hash := sha256.New()
	n, err := io.Copy(hash, r.Body)
	if err != nil {
		return
	}
	trailers := map[string]string{}
	for name := range r.Trailer {
		trailers[name] = r.Trailer.Get(name)
	}
	writeJSON(w, map[string]any{"bytes": n, "sha256": hex.EncodeToString(hash.Sum(nil)), "trailers": trailers})
}

// The byte at offset i is i modulo 251, so that a lost or doubled piece shows.
func download(w http.ResponseWriter, r *http.Request) {
	left := number(r, "bytes", 0)
	w.Header().Set("Content-Type", "application/octet-stream")
	if !r.URL.Query().Has("chunked") {
		w.Header().Set("Content-Length", strconv.Itoa(left))
	}
	if r.Method == http.MethodHead {
		return
	}
	piece := make([]byte, 251*256)
	for i := range piece {
		piece[i] = byte(i % 251)
	}
	for left > 0 {
		n, err := w.Write(piece[:min(left, len(piece))])
		if err != nil {
			return
		}
		left -= n
	}
}

func stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain")
	pieces(w, r, "piece %d\n")
}

func sse(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	pieces(w, r, "data: %d\n\n")
}

func pieces(w http.ResponseWriter, r *http.Request, format string) {
	for i := range number(r, "n", 3) {
		if i > 0 && !pause(r, number(r, "ms", 10)) {
			return
		}
		fmt.Fprintf(flushing{w}, format, i)
	}
}

func slow(w http.ResponseWriter, r *http.Request) {
	time.Sleep(time.Duration(number(r, "ms", 100)) * time.Millisecond)
	io.WriteString(w, "slow")
}

func (a *application) hang(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("id")
	a.setAborted(id, false)
	if r.URL.Query().Has("head") {
		io.WriteString(flushing{w}, "begun\n")
	}
	<-r.Context().Done()
	a.setAborted(id, true)
}

func (a *application) setAborted(id string, v bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.aborted[id] = v
}

func (a *application) abortSeen(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	seen, known := a.aborted[r.URL.Query().Get("id")]
	a.mu.Unlock()
	writeJSON(w, map[string]any{"hanging": known && !seen, "seen": seen})
}

// abort cuts the connection: before the head, or behind a first piece of the
// body.
func abort(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Has("head") {
		w.Header().Set("Content-Length", "1000")
		io.WriteString(flushing{w}, "begun\n")
	}
	panic(http.ErrAbortHandler)
}

func crash(http.ResponseWriter, *http.Request) {
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
}

func exit(_ http.ResponseWriter, r *http.Request) { os.Exit(number(r, "code", 0)) }

func (a *application) stop(w http.ResponseWriter, _ *http.Request) {
	io.WriteString(w, "stopping")
	a.shutdown()
}

// status answers with any code and reason. net/http chooses the reason itself,
// so a response with another one is written by hand.
func status(w http.ResponseWriter, r *http.Request) {
	code, body := number(r, "code", 200), r.URL.Query().Get("body")
	if !r.URL.Query().Has("reason") {
		w.WriteHeader(code)
		io.WriteString(w, body)
		return
	}
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	fmt.Fprintf(rw, "HTTP/1.1 %03d %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		code, r.URL.Query().Get("reason"), len(body), body)
	rw.Flush()
}

func headers(w http.ResponseWriter, r *http.Request) {
	for name, values := range r.URL.Query() {
		for _, v := range values {
			w.Header().Add(name, v)
		}
	}
	io.WriteString(w, "headers")
}

// spawn leaves a process that left the session and whose parent has ended.
func spawn(w http.ResponseWriter, _ *http.Request) {
	out, err := exec.Command("/bin/sh", "-c", "setsid sleep 600 >/dev/null 2>&1 & echo $!").Output()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Write([]byte(strings.TrimSpace(string(out))))
}

func output(to *os.File) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(to, r.URL.Query().Get("text"))
		io.WriteString(w, "written")
	}
}

// early answers without reading the body.
func early(w http.ResponseWriter, r *http.Request) {
	http.NewResponseController(w).EnableFullDuplex()
	w.WriteHeader(number(r, "code", 200))
	io.WriteString(flushing{w}, "early")
}

func number(r *http.Request, name string, fallback int) int {
	n, err := strconv.Atoi(r.URL.Query().Get(name))
	if err != nil {
		return fallback
	}
	return n
}

func pause(r *http.Request, ms int) bool {
	select {
	case <-time.After(time.Duration(ms) * time.Millisecond):
		return true
	case <-r.Context().Done():
		return false
	}
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}

// flushing sends every piece at once.
type flushing struct{ http.ResponseWriter }

func (f flushing) Write(p []byte) (int, error) {
	n, err := f.ResponseWriter.Write(p)
	if err == nil {
		err = http.NewResponseController(f.ResponseWriter).Flush()
	}
	return n, err
}
