package plan

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/perchserver/perch/internal/config"
)

func TestCheckTellsClosedFolders(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{"index.html": "", "a/shut/web.config": "<configuration />"})
	defer unprivileged(t, dir)()
	shut := filepath.Join(dir, "a", "shut")
	if err := os.Chmod(shut, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(shut, 0o755) })
	if _, err := os.ReadDir(shut); err == nil {
		t.Skip("this user may read everything")
	}
	problems, err := Check(input(dir), parts())
	if err != nil || len(problems) != 1 || problems[0].Code != config.ClosedFolder || problems[0].File != shut {
		t.Errorf("%v, %v", problems, err)
	}
}

// Requests for what is in a closed folder leave nothing behind, however many
// there are.
func TestClosedFoldersAreNotCounted(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{"index.html": "", "shut/index.html": ""})
	defer unprivileged(t, dir)()
	shut := filepath.Join(dir, "shut")
	if err := os.Chmod(shut, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(shut, 0o755) })
	if _, err := os.ReadDir(shut); err == nil {
		t.Skip("this user may read everything")
	}
	p := mustBuild(t, input(dir), nil)
	for range 10 {
		if status, _ := get(t, p, "GET", "/shut/index.html"); status != 500 {
			t.Fatalf("answered %d", status)
		}
	}
	r := p.Sites[0].reader
	opened, sources := len(r.opened), len(r.sources)
	get(t, p, "GET", "/shut/index.html")
	if len(r.opened) != opened || len(r.sources) != sources {
		t.Errorf("one more request, and %d folders became %d, %d sources %d", opened, len(r.opened), sources, len(r.sources))
	}
	if err := os.Chmod(shut, 0o755); err != nil {
		t.Fatal(err)
	}
	if status, _ := get(t, p, "GET", "/shut/index.html"); status != 200 {
		t.Errorf("once it can be read: %d", status)
	}
}
