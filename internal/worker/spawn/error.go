package spawn

import (
	"fmt"
)

// Reason is why a program could not be started, as far as the system lets it
// be told.
type Reason uint8

// The reasons. Unknown leaves it to the error's cause.
const (
	Unknown            Reason = iota
	MissingFile               // the program does not exist
	MissingFolder             // the working folder does not exist
	MissingInterpreter        // the program exists; the loader or #! interpreter that it names does not
	NotAFile                  // the program's path is a folder
	NotExecutable             // the program lacks the execute permission
	WrongFormat               // not a program, or one for another kind of machine
	NoPermission              // something on the way is closed to the user; Path says what
	BadUser                   // the host may not, or cannot, become the user
)

// reasons are the sentences of Error, by Reason.
var reasons = [...]string{
	Unknown:            "cannot be started",
	MissingFile:        "does not exist",
	MissingFolder:      "is not an existing folder",
	MissingInterpreter: "exists, but the loader or interpreter that it names does not",
	NotAFile:           "is a folder",
	NotExecutable:      "is not executable",
	WrongFormat:        "is not a program for this machine",
	NoPermission:       "is closed to the user",
	BadUser:            "cannot be run as the user",
}

// Error is a program that could not be started.
type Error struct {
	Reason Reason
	Path   string // what the reason is about: the program, or a folder
	User   *User  // as in the Spec
	Err    error  // the system's answer, a syscall.Errno where there is one
}

// Error returns operation, subject, reason and cause.
func (e *Error) Error() string {
	text := fmt.Sprintf("spawn: %s %s", e.Path, reasons[e.Reason])
	if e.User != nil && (e.Reason == NoPermission || e.Reason == BadUser) {
		text += fmt.Sprintf(" %d:%d", e.User.UID, e.User.GID)
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
