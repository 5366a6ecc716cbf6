package recognize

import (
	"testing"

	"github.com/perchserver/perch/internal/config/merge"
)

// What is written for any kind is read again without a complaint.
func TestWebConfigIsAccepted(t *testing.T) {
	t.Parallel()
	for _, files := range []map[string]string{
		{"app.dll": "", "app.runtimeconfig.json": webConfigFile},
		{"app": nativeFile(), "app.dll": "", "app.runtimeconfig.json": selfContainedFile},
		{"package.json": `{"scripts":{"start":"A=1 node server.js"}}`},
		{"Procfile": `web: gunicorn "app:make()" -b :$PORT`},
		{"index.html": ""},
	} {
		app, err := Folder(write(t, files))
		if err != nil {
			t.Fatal(err)
		}
		if _, problems := merge.Load("web.config", WebConfig(app)); len(problems) > 0 {
			t.Errorf("%s: %v", app.Kind, problems)
		}
	}
}
