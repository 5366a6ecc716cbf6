package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"

	"github.com/spf13/cobra"

	"github.com/perchserver/perch/internal/plan"
)

func (p *Process) explainCommand() *cobra.Command {
	var server serverFlag
	var urls []string
	var q plan.Question
	var address string
	var asJSON bool
	c := &cobra.Command{
		Use:   "explain URL [DIR | --config FILE]",
		Short: "Tell which way a request takes, and why",
		Long: `Tell what becomes of a request for URL by the configuration of DIR, or of the
sites of an applicationHost.config (the perch.config in the current folder, or
else that folder, if neither is given): which binding, site, application and
folder it leads to, the modules and the handler that see it, and what files set
there, with the place of every value. What Perch does not do yet is marked, and
what has no effect left out. Nothing is started, and nothing has to run.

The exit code is 1 if the request would be answered with an error.`,
		Example: "  perch explain http://shop.example/api/orders --config applicationHost.config",
		Args:    args(1, 2, "a URL and at most one folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			in, err := server.subject(args[1:])
			if err != nil {
				return err
			}
			if in.Bindings, err = listening(cmd, in, urls); err != nil {
				return err
			}
			if address != "" {
				if q.Addr, err = netip.ParseAddr(address); err != nil {
					return usageError{fmt.Errorf("address %q is not an IP address", address), "give an IP address of this machine"}
				}
			}
			in.Environ, q.URL = p.Environ, args[0]
			x, err := plan.Explain(in, plan.Parts{Log: slog.New(slog.DiscardHandler)}, q)
			var bad plan.URLError
			if errors.As(err, &bad) {
				return usageError{err, "write scheme and host, such as http://shop.example/cart"}
			}
			if err != nil {
				return fmt.Errorf("explain %w", err)
			}
			if asJSON {
				err = p.printJSON(x)
			} else {
				_, err = fmt.Fprint(p.Stdout, x)
			}
			if err == nil && x.Refused {
				err = silentError{errors.New("the request is answered with an error")}
			}
			return err
		},
	}
	server.add(c)
	c.Flags().StringArrayVarP(&urls, "listen", "l", nil, "listening `URL` of a folder, repeatable (default "+defaultListen+")")
	c.Flags().StringVarP(&q.Method, "method", "X", "GET", "`method` of the request")
	c.Flags().StringVar(&address, "address", "", "local `IP` address that the request comes to (default one that a binding has)")
	c.Flags().BoolVar(&asJSON, "json", false, "print the answer as JSON")
	return c
}
