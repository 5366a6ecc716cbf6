package worker

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// MissingFramework is a shared framework that an application needs and that
// is not installed.
type MissingFramework struct {
	Name      string   // Microsoft.AspNetCore.App
	Version   string   // wanted, as in *.runtimeconfig.json
	Installed []string // versions that are there and do not serve, oldest first
	Root      string   // the .NET folder that was looked at
}

// String names the framework, the version wanted and what is there instead.
func (m MissingFramework) String() string {
	found := "none is installed"
	if len(m.Installed) > 0 {
		found = "installed: " + strings.Join(m.Installed, ", ")
	}
	return fmt.Sprintf("%s %s (%s in %s)", m.Name, m.Version, found, m.Root)
}

// advice is the way out.
func (m MissingFramework) advice() string {
	v, _ := parseVersion(m.Version)
	what := "the .NET runtime"
	if m.Name == "Microsoft.AspNetCore.App" {
		what = "the ASP.NET Core runtime"
	}
	return fmt.Sprintf("Install %s %d.%d: https://dotnet.microsoft.com/download/dotnet/%[2]d.%[3]d", what, v.number[0], v.number[1])
}

type framework struct{ Name, Version string }

// runtimeConfig is the part of *.runtimeconfig.json that says what to run on.
type runtimeConfig struct {
	RuntimeOptions struct {
		Framework   framework
		Frameworks  []framework
		RollForward string
	}
}

// missingFrameworks compares what the application's runtime configuration
// asks for with what is installed (shared/NAME/VERSION below the .NET
// folder). It returns nothing when it cannot tell.
func (r resolver) missingFrameworks(c command) []MissingFramework {
	text, err := os.ReadFile(c.config)
	if err != nil {
		return nil
	}
	var config runtimeConfig
	if err := json.Unmarshal(text, &config); err != nil {
		return nil
	}
	options := config.RuntimeOptions
	wanted := options.Frameworks
	if options.Framework.Name != "" {
		wanted = append(wanted, options.Framework)
	}
	policy := options.RollForward
	if v, _ := r.lookup("DOTNET_ROLL_FORWARD"); v != "" {
		policy = v
	}
	root := c.dotnet
	if root == "" && len(wanted) > 0 {
		root = r.runtimeRoot()
	}
	var missing []MissingFramework
	for _, f := range wanted {
		installed := installedVersions(root, f.Name)
		if v, ok := parseVersion(f.Version); ok && !slices.ContainsFunc(installed, func(i version) bool { return i.serves(v, policy) }) {
			m := MissingFramework{Name: f.Name, Version: f.Version, Root: root}
			for _, i := range installed {
				m.Installed = append(m.Installed, i.text)
			}
			missing = append(missing, m)
		}
	}
	return missing
}

// runtimeRoot is the .NET folder that an application with a program of its
// own looks in.
func (r resolver) runtimeRoot() string {
	folders := r.dotnetFolders()
	for _, dir := range folders {
		if _, err := os.Stat(filepath.Join(dir, "shared")); err == nil {
			return dir
		}
	}
	return folders[0]
}

// installedVersions returns the versions of a framework, oldest first.
func installedVersions(root, name string) []version {
	entries, err := os.ReadDir(filepath.Join(root, "shared", filepath.Base(name)))
	if err != nil {
		return nil
	}
	var list []version
	for _, e := range entries {
		if v, ok := parseVersion(e.Name()); ok {
			list = append(list, v)
		}
	}
	slices.SortFunc(list, version.compare)
	return list
}

// version is a semantic version with its three numbers.
type version struct {
	text   string
	number [3]int
	pre    string // pre-release part; empty for a release
}

func parseVersion(text string) (version, bool) {
	v := version{text: text}
	numbers, pre, _ := strings.Cut(text, "-")
	v.pre = pre
	parts := strings.Split(numbers, ".")
	if len(parts) != len(v.number) {
		return v, false
	}
	for i, part := range parts {
		n, err := strconv.Atoi(part)
		if err != nil || n < 0 {
			return v, false
		}
		v.number[i] = n
	}
	return v, true
}

// compare orders versions; a pre-release is older than its release. The order
// of two pre-releases of one release is that of their text, which is near
// enough for a report.
func (v version) compare(w version) int {
	if c := slices.Compare(v.number[:], w.number[:]); c != 0 {
		return c
	}
	if (v.pre == "") != (w.pre == "") {
		return cmp.Compare(w.pre, v.pre)
	}
	return cmp.Compare(v.pre, w.pre)
}

// serves reports whether an installed version may run an application that
// wants another, under a roll-forward policy. Empty is Minor, the default.
func (v version) serves(wanted version, policy string) bool {
	if v.compare(wanted) < 0 {
		return false
	}
	same := 1 // numbers that must be equal
	switch strings.ToLower(policy) {
	case "major", "latestmajor":
		same = 0
	case "latestpatch":
		same = 2
	case "disable":
		return v.compare(wanted) == 0
	}
	return slices.Equal(v.number[:same], wanted.number[:same])
}
