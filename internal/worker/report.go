package worker

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/worker/spawn"
)

// Step is a part of the start journey.
type Step string

// The steps, in their order.
const (
	StepCommand     Step = "resolve command"
	StepEnvironment Step = "prepare environment"
	StepLog         Step = "open log"
	StepPort        Step = "choose port"
	StepSpawn       Step = "spawn"
	StepListen      Step = "wait for the listening port"
	StepReady       Step = "ready"
)

// StepTime is how long a step took.
type StepTime struct {
	Step Step
	Took time.Duration
}

// StartError is a start that failed. The error page, the log and the command
// line tell it from this one value.
type StartError struct {
	Application string
	Folder      string
	Step        Step
	Err         error // cause
	Attempts    int   // made
	Journey     []StepTime

	// What is known depends on how far the start came.
	Command []string           // program and arguments
	Port    uint16             // given to the application
	Exit    *spawn.Exit        // it ended by itself
	Listens []netip.AddrPort   // it listens here instead
	Missing []MissingFramework // it needs these
	Output  string             // of the last attempt, 30,000 characters at most

	Advice []string // ways out that come with Err
}

// Error returns application, step and cause.
func (e *StartError) Error() string {
	s := fmt.Sprintf("start %s: %s: %v", e.Application, e.Step, e.Err)
	for _, m := range e.Missing {
		s += "; missing framework " + m.String()
	}
	if len(e.Listens) > 0 {
		s += "; it listens on " + joinAddresses(e.Listens) + " instead"
	}
	return s
}

// Unwrap returns the cause.
func (e *StartError) Unwrap() error { return e.Err }

// Report tells the failure in full.
func (e *StartError) Report() exchange.Report {
	r := exchange.Report{Title: "The application did not start", Step: string(e.Step), Output: e.Output}
	fact := func(name, value string) {
		if value != "" {
			r.Facts = append(r.Facts, exchange.Fact{Name: name, Value: value})
		}
	}
	fact("Application", e.Application)
	fact("Problem", e.Err.Error())
	for _, m := range e.Missing {
		fact("Missing framework", m.String())
	}
	if len(e.Listens) > 0 {
		fact("Listens on", fmt.Sprintf("%s instead of 127.0.0.1:%d", joinAddresses(e.Listens), e.Port))
	}
	if e.Exit != nil {
		fact("Ended with", e.Exit.String())
	}
	if e.Port != 0 {
		fact("Port", fmt.Sprint(e.Port))
	}
	fact("Command", joinCommand(e.Command))
	fact("Folder", e.Folder)
	if e.Attempts > 1 {
		fact("Attempts", fmt.Sprint(e.Attempts))
	}
	fact("Time taken", e.times())
	r.Advice = e.advice()
	return r
}

// advice collects the ways out, the most likely first.
func (e *StartError) advice() []string {
	var advice []string
	for _, m := range e.Missing {
		advice = append(advice, m.advice())
	}
	advice = append(advice, e.Advice...)
	switch {
	case len(e.Listens) > 0:
		advice = append(advice, fmt.Sprintf("Let the application listen on 127.0.0.1 and the port that it is given in its environment (now %d), "+
			"not on an address of its own.", e.Port))
	case e.Exit != nil && len(e.Missing) == 0:
		advice = append(advice, "Read its last output; run the command by hand in its folder to see it fail.")
	case errors.Is(e.Err, errNotListening):
		advice = append(advice, "If it only starts slowly, raise startupTimeLimit.",
			fmt.Sprintf("Let it listen on 127.0.0.1 and the port that it is given in its environment (now %d).", e.Port))
	}
	return advice
}

// times lists the steps that took a millisecond or more.
func (e *StartError) times() string {
	var parts []string
	for _, t := range e.Journey {
		if t.Took >= time.Millisecond {
			parts = append(parts, fmt.Sprintf("%s %v", t.Step, t.Took.Round(time.Millisecond)))
		}
	}
	return strings.Join(parts, ", ")
}

// startFailure is the answer to a request that needed the start: 502.5 with
// its page, or 502.3 and nothing more where the page is switched off
// (spec 3.8). cause is a Reporter.
func (s *Settings) startFailure(cause exchange.Reporter) *exchange.Error {
	e := &exchange.Error{Status: 502, SubStatus: 5, Op: "start application",
		Public: "The application could not be started.", Logged: true, Err: cause}
	if s.Protocol != AspNetCore {
		e.Kind = "Application Startup Failure" // that of the ASP.NET Core Module names the module
	}
	var rapid *RapidFailError
	if errors.As(cause, &rapid) {
		e.RetryAfter = int(rapid.Wait/time.Second) + 1
	}
	if s.DisableStartUpErrorPage {
		e.SubStatus, e.Empty = 3, true
	}
	return e
}

// spawnAdvice is the way out of a program that cannot be started.
func spawnAdvice(err error) []string {
	var e *spawn.Error
	if !errors.As(err, &e) {
		return nil
	}
	switch e.Reason {
	case spawn.MissingFile, spawn.MissingFolder:
		return []string{"Publish the application again, or correct processPath."}
	case spawn.MissingInterpreter:
		return []string{"The program was built for another C library or its script names an interpreter that is not installed: " +
			"publish it for this system (for example -r linux-x64, or linux-musl-x64 on Alpine), or install the interpreter."}
	case spawn.NotExecutable:
		return []string{"Run: chmod +x " + shellQuote(e.Path)}
	case spawn.WrongFormat:
		return []string{"Publish the application for this system and processor, for example dotnet publish -r linux-x64.",
			"If it is a script, let its first line name the interpreter, for example #!/bin/sh"}
	case spawn.NoPermission:
		return []string{"Let the user that the application runs as read " + shellQuote(e.Path) + " and enter every folder above it."}
	case spawn.BadUser:
		return []string{"Run the host as root, or let the application run as the host's own user."}
	}
	return nil
}

func joinAddresses(list []netip.AddrPort) string {
	var b strings.Builder
	for i, a := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(a.String())
	}
	return b.String()
}

func joinCommand(args []string) string {
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = shellQuote(a)
	}
	return strings.Join(quoted, " ")
}

// lastLines returns at most n lines from the end of text.
func lastLines(text string, n int) string {
	text = strings.TrimRight(text, "\r\n")
	for i := len(text) - 1; i >= 0; i-- {
		if text[i] == '\n' {
			if n--; n == 0 {
				return text[i+1:]
			}
		}
	}
	return text
}
