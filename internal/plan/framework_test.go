package plan

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/perchserver/perch/internal/config"
)

// An application of the .NET Framework is told to be one; an application that
// runs by itself may have such files.
func TestDotNetFramework(t *testing.T) {
	t.Parallel()
	files := map[string]string{"Default.aspx": "", "web.config": `<configuration><system.web><compilation targetFramework="4.8" /></system.web></configuration>`}
	dir := tree(t, files)
	problems, err := Check(input(dir), parts())
	if err != nil || len(problems) != 1 || problems[0].Code != config.DotNetFramework || problems[0].File != filepath.Join(dir, "Default.aspx") {
		t.Errorf("told %v\n%s", err, details(problems))
	}
	files["web.config"] = webConfigWith("")
	if problems, err = Check(input(tree(t, files)), parts()); err != nil || slices.ContainsFunc(problems, func(p config.Problem) bool { return p.Code == config.DotNetFramework }) {
		t.Errorf("an application that is started: told %v\n%s", err, details(problems))
	}
}
