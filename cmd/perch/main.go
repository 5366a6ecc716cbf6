// Command perch is the web server and the tools around it. Everything is in
// internal/cli; this hands it arguments, streams and signals.
package main

import (
	"os"
	"os/signal"

	"github.com/perchserver/perch/internal/cli"
)

func main() {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, cli.Signals()...)
	os.Exit(cli.Main(cli.Process{
		Args:    os.Args,
		Environ: os.Environ(),
		Stdout:  os.Stdout,
		Stderr:  os.Stderr,
		Signals: signals,
	}))
}
