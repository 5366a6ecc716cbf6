package perch_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// place is "package: file.go: name" between back-quotes.
var place = regexp.MustCompile("`([a-z0-9/]+): ([a-z0-9_]+\\.go): ([A-Za-z0-9]+)`")

// missing returns why a place of docs/ARCHITECTURE.md does not exist below
// root, and "" if it does.
func missing(root, folder, file, name string) string {
	path := filepath.Join(root, "internal", filepath.FromSlash(folder), file)
	text, err := os.ReadFile(path)
	if err != nil {
		return "there is no file " + path
	}
	declared := regexp.MustCompile(`(?m)^(func|func \([^)]*\)|type) ` + name + `\b`)
	if !declared.Match(text) {
		return path + " declares no " + name
	}
	return ""
}

func TestArchitectureNamesWhatExists(t *testing.T) {
	text, err := os.ReadFile("docs/ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	places := place.FindAllStringSubmatch(string(text), -1)
	if len(places) < 20 {
		t.Errorf("found %d places, so the pattern does not fit the page any more", len(places))
	}
	for _, p := range places {
		if why := missing(".", p[1], p[2], p[3]); why != "" {
			t.Errorf("%s: %s", p[0], why)
		}
	}
}

func TestMissingTellsWhatDoesNotExist(t *testing.T) {
	if why := missing(".", "plan", "plan.go", "Build"); why != "" {
		t.Error(why)
	}
	for _, p := range [][3]string{{"plan", "nothere.go", "Build"}, {"plan", "plan.go", "Buil"}, {"nothere", "plan.go", "Build"}} {
		if missing(".", p[0], p[1], p[2]) == "" {
			t.Errorf("%s was found", strings.Join(p[:], " "))
		}
	}
}
