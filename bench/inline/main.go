// Command inline answers with a Go handler inside Perch's own server: the
// engine, the error pages, the lookup of the site and the module chain are
// those of the product, only the application is not a process of its own.
//
//	inline LISTEN
//
// It shows what an application costs that is served by Perch in its own
// process, beside one of net/http.
package main

import (
	"context"
	"log"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/listen"
	"github.com/perchserver/perch/internal/module/errorpage"
	"github.com/perchserver/perch/internal/module/reqfilter"
	"github.com/perchserver/perch/internal/serve"
	"github.com/perchserver/perch/internal/site"
	"github.com/perchserver/perch/internal/sockio"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: inline LISTEN")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, address string) error {
	binding, err := listen.Parse("http://" + address)
	if err != nil {
		return err
	}
	group, err := listen.Open([]listen.Binding{binding})
	if err != nil {
		return err
	}
	socket := group.Sockets[0]
	w, err := sockio.NewWatcher()
	if err != nil {
		return err
	}
	defer w.Close()
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	s := serve.New(serve.Settings{Log: logger}, w, handler(socket.Addr().(*net.TCPAddr).AddrPort(), logger))
	s.Serve(serve.Listener{Listener: socket, URL: socket.URL})
	<-ctx.Done()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return s.Shutdown(ctx)
}

// handler is the road of a request as package plan builds it, for one site
// whose every path belongs to one Go handler.
func handler(at netip.AddrPort, logger *slog.Logger) exchange.Handler {
	choice := &site.Choice{Entries: []site.Entry{{Path: "*", Handler: exchange.HandlerFunc(hello)}}}
	chain := reqfilter.Module(reqfilter.Settings{MaxBody: 30_000_000, Hidden: reqfilter.Hide(".perch-history", "web.config")})(choice)
	pages := errorpage.Module(errorpage.Settings{Log: logger})
	tree := site.NewTree(&site.Node{Chain: chain}, noFolders{})
	table := site.NewTable([]site.Binding{{Port: at.Port(), Site: tree}}, func(err error) exchange.Handler {
		return exchange.HandlerFunc(func(*exchange.Exchange) error { return err })
	})
	return pages(table)
}

// noFolders is a site without folders.
type noFolders struct{}

func (noFolders) Open(_ string, above *site.Node) (*site.Node, []string, error) {
	return above, nil, nil
}

var body = []byte("Hello, World!") // never written

func hello(x *exchange.Exchange) error {
	r := &x.Response
	r.Status, r.Length = 200, int64(len(body))
	r.Header.Add(exchange.ContentType, plain)
	if err := r.Writer.WriteHead(x); err != nil {
		return err
	}
	_, err := r.Writer.Write(body)
	return err
}

var plain = []byte("text/plain") // never written
