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
