package worker

import (
	"io/fs"
	"path/filepath"
	"strings"
)

const pathVariable = "Path"

// usualDotnetFolders are where installers put .NET. NAME|rest is below the
// folder that a variable names. Never written.
var usualDotnetFolders = []string{`ProgramFiles|dotnet`, `ProgramW6432|dotnet`, `USERPROFILE|.dotnet`}

// programNames returns the file names that a configured program may have: as
// written, and with .exe when it has no extension.
func programNames(text string) []string {
	names := []string{filepath.FromSlash(text)}
	if filepath.Ext(text) == "" {
		names = append([]string{names[0] + ".exe"}, names...)
	}
	return names
}

// foreignPath reports whether a path holds a variable that nothing was put in
// for.
func foreignPath(text string) bool { return strings.Count(text, "%") >= 2 }

// executable is decided by the name here, when it is tried.
func executable(fs.FileInfo) bool { return true }

// windowsProgram has nothing against a program of this system.
func windowsProgram(string) error { return nil }
