// Command reverseproxy is what one gets from the Go library alone, tuned as
// far as it lets itself be: httputil.ReverseProxy in front of the backend,
// http.FileServer for the files, an http.Handler that answers itself.
//
//	reverseproxy LISTEN BACKEND FOLDER CERTIFICATE
package main

import (
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"sync"
	"time"
)

func main() {
	if len(os.Args) != 5 {
		log.Fatal("usage: reverseproxy LISTEN BACKEND FOLDER CERTIFICATE, which is empty for clear text")
	}
	mux := http.NewServeMux()
	mux.Handle("/", proxy(os.Args[2]))
	mux.Handle("/static/", http.StripPrefix("/static/", http.FileServer(http.Dir(os.Args[3]))))
	mux.HandleFunc("/hello", func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = []string{"text/plain"}
		io.WriteString(w, "Hello, World!")
	})
	s := &http.Server{Addr: os.Args[1], Handler: mux, ReadHeaderTimeout: 15 * time.Second}
	if certificate := os.Args[4]; certificate != "" {
		log.Fatal(s.ListenAndServeTLS(certificate, certificate))
	}
	log.Fatal(s.ListenAndServe())
}

func proxy(backend string) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: backend})
			r.Out.Host = r.In.Host
			r.SetXForwarded()
			r.Out.Header["MS-ASPNETCORE-TOKEN"] = []string{"5d9f5a4c-8f43-4f0e-8d7b-3a1f6f0c2b11"}
		},
		Transport: &http.Transport{
			MaxIdleConns:        1024,
			MaxIdleConnsPerHost: 1024,
			DisableCompression:  true,
			IdleConnTimeout:     time.Minute,
		},
		BufferPool: &buffers{sync.Pool{New: func() any { return new([64 << 10]byte) }}},
	}
}

// buffers lends buffers for bodies.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte  { return b.pool.Get().(*[64 << 10]byte)[:] }
func (b *buffers) Put(p []byte) { b.pool.Put((*[64 << 10]byte)(p)) }
