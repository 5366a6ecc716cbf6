// Command go is a fixture: an ordinary net/http application that tells what it
// saw and does on request what applications do. The same endpoints exist in
// ../aspnetcore31 and ../node.
//
// Started by a host that speaks the protocol of the ASP.NET Core Module, it
// keeps the application's side of it, as the IIS Integration Middleware does:
// the port, the pairing token and the shutdown request. Suites that are not
// about .NET itself use it in place of a .NET application, because it starts
// in a few milliseconds.
//
// Its environment can make it start and stop badly:
//
//	APP_START_DELAY_MS=n  wait before listening
//	APP_START=exit:n      exit with the code n instead of listening
//	APP_START=never       never listen
//	APP_START=address:a   listen on the address a (host:port) instead
//	APP_START=host:h      listen on the host h, on the port it was given
//	APP_START=child       let a child process listen
//	APP_HTTP2=1           speak HTTP/2 without TLS, and nothing else
//	APP_OUTPUT=n          first write n characters to stdout
//	APP_STOP=deaf         accept the shutdown request, ignore SIGTERM, never stop
//	APP_STOP=plain        know nothing of the shutdown request, obey SIGTERM
//	APP_STOP_DELAY_MS=n   stop that late
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	os.Exit(run())
}

func run() int {
	if n := intEnv("APP_OUTPUT"); n > 0 {
		fmt.Println(strings.Repeat("x", n))
	}
	fmt.Println("fixture: main entered")
	time.Sleep(time.Duration(intEnv("APP_START_DELAY_MS")) * time.Millisecond)

	address, code, ok := startBehaviour()
	if !ok {
		return code
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		fmt.Fprintln(os.Stderr, "fixture: "+err.Error())
		return 1
	}

	stop := make(chan struct{}, 1)
	a := newApplication(func() {
		select {
		case stop <- struct{}{}:
		default:
		}
	})
	srv := &http.Server{Handler: a.handler(), ReadHeaderTimeout: time.Minute}
	if os.Getenv("APP_HTTP2") != "" {
		srv.Protocols = new(http.Protocols)
		srv.Protocols.SetUnencryptedHTTP2(true)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()

	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	deaf := os.Getenv("APP_STOP") == "deaf"
	for {
		select {
		case s := <-signals:
			fmt.Println("fixture: signal", s)
		case <-stop:
			fmt.Println("fixture: shutdown request")
		case err := <-served:
			fmt.Fprintln(os.Stderr, "fixture:", err)
			return 1
		}
		if deaf {
			continue
		}
		return drain(srv, a, served)
	}
}

// drain ends the server with the requests that it has.
func drain(srv *http.Server, a *application, served <-chan error) int {
	time.Sleep(time.Duration(intEnv("APP_STOP_DELAY_MS")) * time.Millisecond)
	a.closeSockets()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "fixture: "+err.Error())
		return 1
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		fmt.Fprintln(os.Stderr, "fixture: "+err.Error())
		return 1
	}
	fmt.Println("fixture: stopped")
	return 0
}

// startBehaviour returns the address to listen on. If there is none, ok is
// false and the process ends with code.
func startBehaviour() (address string, code int, ok bool) {
	port := firstEnv("ASPNETCORE_PORT", "HTTP_PLATFORM_PORT", "PORT")
	how, what, _ := strings.Cut(os.Getenv("APP_START"), ":")
	switch how {
	case "exit":
		fmt.Fprintln(os.Stderr, "fixture: giving up as told")
		code, _ = strconv.Atoi(what)
		return "", code, false
	case "never":
		select {}
	case "address":
		return what, 0, true
	case "host":
		return net.JoinHostPort(what, port), 0, true
	case "child":
		return "", child(), false
	}
	return net.JoinHostPort("127.0.0.1", port), 0, true
}

// child runs this program once more, which listens, and waits for it.
func child() int {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "APP_START=")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	signal.Ignore(syscall.SIGTERM) // it goes to the whole group; the child obeys
	if err := cmd.Run(); err != nil {
		return 1
	}
	return 0
}

func intEnv(name string) int {
	n, _ := strconv.Atoi(os.Getenv(name))
	return n
}

func firstEnv(names ...string) string {
	for _, n := range names {
		if v := os.Getenv(n); v != "" {
			return v
		}
	}
	return "0"
}
