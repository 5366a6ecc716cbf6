package plan

import (
	"html"
	"strings"
	"testing"
)

// Pages of refusals say what to do, to who may read their details.
func TestRefusalsSayWhatToDo(t *testing.T) {
	t.Parallel()
	site := strings.Replace(plainSite(1, "a", "*:80:", "a"), "<bindings>", `<application path="/off" applicationPool="Off"><virtualDirectory path="/" physicalPath="a" /></application>
<application path="/gone" applicationPool="Of"><virtualDirectory path="/" physicalPath="a" /></application><bindings>`, 1)
	dir := tree(t, map[string]string{
		"applicationHost.config": strings.Replace(hostConfig(`<add name="Off" autoStart="false" />`, site), "</configuration>",
			`<location path="a/tls"><system.webServer><security><access sslFlags="Ssl" /></security></system.webServer></location></configuration>`, 1),
		"a/m.strange": "", "a/none/x.txt": "", "a/tls/x.txt": "",
	})
	in := served(dir)
	in.Environ = []string{"ASPNETCORE_ENVIRONMENT=Development"}
	p := mustBuild(t, in, nil)
	for path, want := range map[string]string{
		"/m.strange": "mimeMap[@fileExtension='.strange']/@mimeType=TYPE\" \"" + dir + "/a\"",
		"/none/":     "defaultDocument/files/add[@value='NAME']\" \"" + dir + "/a\"",
		"/off/":      "applicationPools/add[@name='Off']/@autoStart=true\" --config " + in.Server,
		"/gone/":     "applicationPools/add[@name='Of']\" --config " + in.Server,
		"/tls/x.txt": "ask over https",
	} {
		if status, body := getFrom(t, p, "a", path); status < 400 || !strings.Contains(html.UnescapeString(body), want) {
			t.Errorf("%s: %d, without %q:\n%s", path, status, want, body)
		}
	}
}
