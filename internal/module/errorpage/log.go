package errorpage

import (
	"context"
	"errors"
	"log/slog"
	"strings"

	"github.com/perchserver/perch/internal/exchange"
)

// maxLoggedOutput bounds the application's output in one log line, from its
// end. Whoever captured it has logged the whole.
const maxLoggedOutput = 2000

// log writes the one line of an error, which e is found in.
func (m *module) log(x *exchange.Exchange, e *exchange.Error, err error) {
	level := slog.LevelDebug
	if e.Status >= 500 && !errors.As(e.Err, new(exchange.Pager)) { // a page of its own is no fault
		level = slog.LevelError
	}
	ctx := context.Background()
	if !m.Log.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("request", x.ID()),
		slog.Int("status", e.Status),
		slog.Int("substatus", e.SubStatus),
		slog.String("method", x.Request.Method),
		slog.String("target", string(x.Request.Target.Raw)), // as it came
		slog.String("path", string(x.Request.Target.Path)),  // as it was judged
	}
	if x.Response.Started || e.Cut {
		attrs = append(attrs, slog.Bool("cut", true))
	}
	if e.Logged {
		attrs = append(attrs, slog.String("err", e.Op+": "+e.Public))
		m.Log.LogAttrs(ctx, level, "request failed", attrs...)
		return
	}
	attrs = append(attrs, slog.String("err", err.Error()))
	if r := report(e); r.Title != "" || len(r.Advice) > 0 {
		attrs = append(attrs, slog.Attr{Key: "report", Value: slog.GroupValue(reportAttrs(r)...)})
	}
	m.Log.LogAttrs(ctx, level, "request failed", attrs...)
}

func reportAttrs(r exchange.Report) []slog.Attr {
	attrs := []slog.Attr{slog.String("step", r.Step)}
	if r.Title != "" {
		attrs = append(attrs, slog.String("title", r.Title))
	}
	for _, f := range r.Facts {
		attrs = append(attrs, slog.String(strings.ReplaceAll(strings.ToLower(f.Name), " ", "_"), f.Value))
	}
	if len(r.Advice) > 0 {
		attrs = append(attrs, slog.Any("advice", r.Advice))
	}
	if out := r.Output; out != "" {
		attrs = append(attrs, slog.String("output", out[max(0, len(out)-maxLoggedOutput):]))
	}
	return attrs
}
