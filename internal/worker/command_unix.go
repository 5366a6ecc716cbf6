//go:build !windows

package worker

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

const pathVariable = "PATH"

// usualDotnetFolders are where packages and install scripts put .NET. NAME|rest
// is below the folder that a variable names. Never written.
var usualDotnetFolders = []string{
	"/usr/share/dotnet", "/usr/lib/dotnet", "/usr/lib64/dotnet", "/usr/local/share/dotnet", "/opt/dotnet", "HOME|.dotnet",
}

// programNames returns the file names that a configured program may have: as
// written, with its back-slashes turned, and without .exe.
func programNames(text string) []string {
	turned := strings.ReplaceAll(text, `\`, "/")
	names := []string{turned}
	if n := len(turned) - len(".exe"); n > 0 && strings.EqualFold(turned[n:], ".exe") {
		names = append(names, turned[:n])
	}
	return names
}

// foreignPath reports whether a path begins with a drive, or holds a variable
// that nothing was put in for.
func foreignPath(text string) bool {
	drive := len(text) >= 3 && text[1] == ':' && (text[2] == '\\' || text[2] == '/')
	return drive || strings.Count(text, "%") >= 2
}

// executable reports whether anybody may execute the file. Whether the
// application's user may is known when it is tried.
func executable(info fs.FileInfo) bool { return info.Mode().Perm()&0o111 != 0 }

// windowsProgram is the error for a program that was built for Windows.
func windowsProgram(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer file.Close()
	var magic [2]byte
	if _, err := io.ReadFull(file, magic[:]); err != nil || string(magic[:]) != "MZ" {
		return nil
	}
	return &advisedError{fmt.Errorf("processPath %s is a program for Windows", path),
		[]string{"Publish the application for this system: `dotnet publish` without -r, or with -r of this system, such as linux-x64."}}
}
