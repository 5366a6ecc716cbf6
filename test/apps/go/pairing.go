package main

import (
	"io"
	"net"
	"net/http"
	"os"
	"strings"
)

// paired keeps the application's side of the module's protocol, with the rules
// of the IIS Integration Middleware: without a token in the environment it does
// nothing.
func paired(shutdown func(), next http.Handler) http.Handler {
	token := os.Getenv("ASPNETCORE_TOKEN")
	if token == "" {
		return next
	}
	base := strings.TrimSuffix(os.Getenv("ASPNETCORE_APPL_PATH"), "/")
	plain := os.Getenv("APP_STOP") == "plain"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Values("MS-ASPNETCORE-TOKEN"); len(got) != 1 || got[0] != token {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if !plain && strings.EqualFold(r.Method, "POST") && strings.EqualFold(r.URL.Path, base+"/iisintegration") &&
			strings.EqualFold(r.Header.Get("MS-ASPNETCORE-EVENT"), "shutdown") {
			io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusAccepted)
			shutdown()
			return
		}
		next.ServeHTTP(w, r)
	})
}

// pathBase takes the configured path base off the path. Both keep the
// spelling of the client.
func pathBase(path string) (base, rest string) {
	want := strings.TrimSuffix(os.Getenv("ASPNETCORE_APPL_PATH"), "/")
	n := len(want)
	if n == 0 || len(path) < n || !strings.EqualFold(path[:n], want) || len(path) > n && path[n] != '/' {
		return "", path
	}
	return path[:n], path[n:]
}

// remote and scheme are what the nearest proxy said: the right-most entry.
func remote(r *http.Request) string {
	v := last(r.Header.Values("X-Forwarded-For"))
	if v == "" {
		return r.RemoteAddr
	}
	if host, port, err := net.SplitHostPort(v); err == nil {
		return net.JoinHostPort(host, port)
	}
	return v
}

func scheme(r *http.Request) string {
	if v := last(r.Header.Values("X-Forwarded-Proto")); v != "" {
		return v
	}
	return "http"
}

func last(values []string) string {
	all := strings.Split(strings.Join(values, ","), ",")
	return strings.TrimSpace(all[len(all)-1])
}
