package plan

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/perchserver/perch/internal/listen"
)

func TestExplain(t *testing.T) {
	secret := `<aspNetCore processPath="./shop" arguments="--fast"><environmentVariables><environmentVariable name="KEY" value="hush" /></environmentVariables></aspNetCore>`
	dir := tree(t, map[string]string{
		"applicationHost.config": hostConfig(`<add name="Main" /><add name="Off" autoStart="false" />`, `<site name="Shop" id="7">
<application path="/" applicationPool="Main"><virtualDirectory path="/" physicalPath="shop" /><virtualDirectory path="/media" physicalPath="media" /></application>
<application path="/off" applicationPool="Off"><virtualDirectory path="/" physicalPath="media" /></application>
<bindings><binding protocol="http" bindingInformation="*:80:shop.test" /><binding protocol="http" bindingInformation="10.0.0.5:81:shop.test" /></bindings>
</site>`),
		"shop/web.config":       webConfigWith(secret + `<security><requestFiltering><requestLimits maxAllowedContentLength="7" /></requestFiltering></security>`),
		"media/web.config":      `<configuration><system.webServer><handlers><clear /><add name="Files" path="*.txt" verb="GET" modules="StaticFileModule" requireAccess="Read" /></handlers></system.webServer></configuration>`,
		"media/bad/web.config":  `<configuration><oops /></configuration>`,
		"media/deep/readme.txt": "text",
		"shop/shop":             "#!/bin/sh",
	})
	if err := os.Chmod(filepath.Join(dir, "shop", "shop"), 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "applicationHost.config")
	for _, c := range []struct {
		name string
		q    Question
		want []string // in the text
		not  string
	}{
		{"an application", Question{URL: "http://SHOP.test/cart?x=1"}, []string{
			"binding            http://shop.test:80  " + file + ":8:", "site               Shop (id 7)",
			"application        /  " + file, "pool               Main", "physical path      " + filepath.Join(dir, "shop", "cart"),
			"configuration      Shop", filepath.Join(dir, "shop", "web.config"), "modules            errorpage, reqfilter",
			"handler            aspNetCore (AspNetCoreModuleV2)", "answer             the application Shop: ./shop --fast",
			`requestLimits/@maxAllowedContentLength="7"`, `environmentVariable/@name="KEY"`, "(not shown)"}, "hush"},
		{"a file below a virtual directory", Question{URL: "http://shop.test/Media/deep/readme.txt"}, []string{
			"virtual directory  /media", filepath.Join(dir, "media", "deep", "readme.txt"), "answer             the file " + filepath.Join(dir, "media", "deep", "readme.txt")}, "aspNetCore"},
		{"a file that is not there", Question{URL: "http://shop.test/media/no.txt"}, []string{"answer             404"}, ""},
		{"a name and a password", Question{URL: "http://ann:hush@shop.test/"}, []string{"request            GET http://shop.test/\n"}, "hush"},
		{"a method that no handler takes", Question{URL: "http://shop.test/media/a.txt", Method: "PUT"}, []string{"answer             405"}, ""},
		{"a method that is none", Question{URL: "http://shop.test/", Method: "GET IT"}, []string{"answer             400: the method is not a token"}, "handler"},
		{"a path that no handler takes", Question{URL: "http://shop.test/media/a.gif"}, []string{"answer             404.4"}, ""},
		{"a stopped pool", Question{URL: "http://shop.test/off/"}, []string{"answer             503: the application pool Off is stopped"}, ""},
		{"a broken folder", Question{URL: "http://shop.test/media/bad/"}, []string{"answer             500", "a host that runs goes on by the last one that it could use", "error PC011", "oops"}, ""},
		{"a path above the root", Question{URL: "http://shop.test/../x"}, []string{"answer             400"}, ""},
		{"an unknown host", Question{URL: "http://other.test/"}, []string{"answer             400: no binding of port 80 claims the host"}, "site"},
		{"an unknown port", Question{URL: "http://shop.test:82/"}, []string{"nobody listens on port 82", "http://shop.test:80"}, ""},
		{"the wrong scheme", Question{URL: "https://shop.test:80/"}, []string{"does not speak https"}, ""},
		{"any address", Question{URL: "http://shop.test:81/"}, []string{"the application Shop"}, ""},
		{"another address", Question{URL: "http://shop.test:81/", Addr: netip.MustParseAddr("10.0.0.6")}, []string{"answer             400"}, ""},
	} {
		x, err := Explain(served(dir), parts(), c.q)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		text := x.String()
		for _, want := range c.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s: not told %q in\n%s", c.name, want, text)
			}
		}
		if c.not != "" && strings.Contains(text, c.not) {
			t.Errorf("%s: told %q in\n%s", c.name, c.not, text)
		}
		if refused := !strings.Contains(text, "answer             the "); x.Refused != refused {
			t.Errorf("%s: refused is %v", c.name, x.Refused)
		}
	}
	empty := tree(t, map[string]string{"applicationHost.config": hostConfig("", "")})
	if x, err := Explain(served(empty), parts(), Question{URL: "http://shop.test/"}); err != nil || x.Answer != "none: nobody listens on port 80, and no site has a binding" {
		t.Errorf("without sites: %v, %v", x, err)
	}
	for _, bad := range []string{"", "shop.test", "ftp://shop.test/", "/x", "http://"} {
		if x, err := Explain(served(dir), parts(), Question{URL: bad}); err == nil {
			t.Errorf("%q was explained: %v", bad, x)
		}
	}
}

// Of what files set, what Perch does not do is marked, and of a section that it
// does not do there is one line. What has no effect is left out.
func TestExplainMarksWhatIsNotDone(t *testing.T) {
	dir := tree(t, map[string]string{
		"web.config": `<configuration><system.webServer><caching enabled="true" enableKernelCache="true" /><asp enableParentPaths="true" />` +
			`<security><requestFiltering allowHighBitCharacters="false" removeServerHeader="true"><requestLimits maxAllowedContentLength="7" /></requestFiltering></security>` +
			`</system.webServer></configuration>`,
		"a.txt": "text",
	})
	x, err := Explain(Input{Folder: dir, Bindings: []listen.Binding{{URL: "http://127.0.0.1:5000", Port: 5000}}}, parts(), Question{URL: "http://127.0.0.1:5000/a.txt"})
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for line := range strings.Lines(x.String()) {
		if kind := strings.TrimSpace(line[:18]); kind == "setting" || kind == "not done" {
			told = append(told, kind+" "+strings.Fields(line[18:])[0])
		}
	}
	for _, want := range []string{
		"not done system.webServer/caching", `not done system.webServer/security/requestFiltering/@allowHighBitCharacters="false"`,
		`setting system.webServer/security/requestFiltering/requestLimits/@maxAllowedContentLength="7"`,
	} {
		if !slices.Contains(told, want) {
			t.Errorf("not told %q in\n%s", want, x)
		}
	}
	if slices.ContainsFunc(told, func(s string) bool { return strings.Contains(s, "caching/") || strings.Contains(s, "ParentPaths") }) {
		t.Errorf("too much told in\n%s", x)
	}
}

// What keeps a request from its handler is told: https alone, and certificates
// of clients.
func TestExplainWhoIsKeptOut(t *testing.T) {
	both := `<bindings><binding protocol="http" bindingInformation="*:80:%[1]s.localhost" /><binding protocol="https" bindingInformation="*:443:%[1]s.localhost" sslFlags="1" /></bindings>`
	site := func(id, name, inner string) string {
		return `<site name="` + name + `" id="` + id + `"><application path="/"><virtualDirectory path="/" physicalPath="files" /></application>` +
			strings.ReplaceAll(both, "%[1]s", name) + inner + `</site>`
	}
	flags := func(name, flags string) string {
		return `<location path="` + name + `"><system.webServer><security><access sslFlags="` + flags + `" /></security></system.webServer></location>`
	}
	file := hostConfig("", site("1", "tls", "")+site("2", "cert", "")+site("3", "sent", `<hsts enabled="true" max-age="9" redirectHttpToHttps="true" />`))
	dir := tree(t, map[string]string{
		"applicationHost.config": strings.Replace(file, "</configuration>", flags("tls", "Ssl")+flags("cert/in", "SslNegotiateCert,SslRequireCert")+"</configuration>", 1),
		"files/index.html":       "files", "files/in/index.html": "files",
	})
	for _, c := range []struct {
		url, answer string
		refused     bool
	}{
		{"http://tls.localhost/", "403.4: the request did not come over TLS", true},
		{"https://tls.localhost/", "the file ", false},
		{"http://cert.localhost/", "the file ", false},
		{"http://cert.localhost/in/", "403.7: ", true},
		{"https://cert.localhost/in/", "index.html; a client without a certificate gets 403.7", false},
		{"http://sent.localhost/no.txt", "301: ", false},
		{"https://sent.localhost/no.txt", "404", true},
		{"https://other.localhost/", "none: no binding of port 443 claims the host: the handshake is refused", true},
		{"http://other.localhost/", "400: no binding of port 80 claims the host", true},
	} {
		x, err := Explain(served(dir), parts(), Question{URL: c.url})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(x.Answer, c.answer) || x.Refused != c.refused {
			t.Errorf("%s: %q, refused: %v", c.url, x.Answer, x.Refused)
		}
	}
}

func TestExplainTheCertificateOfAFolder(t *testing.T) {
	in := input(tree(t, map[string]string{"index.html": "page"}))
	for host, want := range map[string]string{"localhost": "a development certificate", "shop.test": "that of --cert"} {
		in.Bindings = []listen.Binding{{URL: "https://" + host, Host: host, Port: 443, TLS: true}}
		x, err := Explain(in, parts(), Question{URL: "https://" + host + "/"})
		if err != nil {
			t.Fatal(err)
		}
		if len(x.Certificate) != 1 || !strings.Contains(x.Certificate[0], want) {
			t.Errorf("%s: certificate %q, want %q", host, x.Certificate, want)
		}
	}
}

// TestExplainIsWhatServes asks the plan itself for the same paths.
func TestExplainIsWhatServes(t *testing.T) {
	dir := tree(t, map[string]string{
		"applicationHost.config": hostConfig("", plainSite(1, "a", "*:80:", "a")),
		"a/web.config":           `<configuration><system.webServer><handlers><clear /><add name="Files" path="*.txt" verb="GET" modules="StaticFileModule" requireAccess="Read" /></handlers></system.webServer></configuration>`,
		"a/one.txt":              "one",
		"a/sub/web.config":       "<broken",
	})
	p := mustBuild(t, served(dir), nil)
	for _, path := range []string{"/one.txt", "/one.gif", "/sub/", "/sub/x.txt", "/SUB/x.txt", "/%2e%2e/x"} {
		x, err := Explain(served(dir), parts(), Question{URL: "http://any" + path})
		if err != nil {
			t.Fatal(err)
		}
		if path == "/%2e%2e/x" {
			if !x.Refused {
				t.Errorf("%s: %s", path, x.Answer)
			}
			continue
		}
		status, _ := getFrom(t, p, "any", path)
		if x.Refused != (status >= 400) {
			t.Errorf("%s is answered %d, and explained as %s", path, status, x.Answer)
		}
	}
	if x, err := Explain(served(dir), parts(), Question{URL: "http://any/one.txt"}); err != nil || !slices.Equal(x.Modules, []string{"errorpage", "reqfilter"}) {
		t.Errorf("%v, %v", x, err)
	}
}

// Where several things refuse a request, the first of them that it meets
// answers.
func TestExplainTellsTheFirstRefusal(t *testing.T) {
	t.Parallel()
	const refusing = `<configuration><system.webServer><security><access sslFlags="Ssl" /></security></system.webServer></configuration>`
	site := func(id int, name, more string) string {
		return strings.Replace(strings.Replace(plainSite(id, name, "*:80:"+name, "a"), `<application path="/"`, `<application path="/" applicationPool="Off"`, 1), "</site>", more+"</site>", 1)
	}
	dir := tree(t, map[string]string{
		"applicationHost.config": strings.Replace(hostConfig(`<add name="Off" autoStart="false" />`, site(1, "plain", "")+
			site(2, "sent", `<hsts enabled="true" max-age="1" redirectHttpToHttps="true" />`)+site(3, "short", `<limits maxUrlSegments="1" />`)),
			"</configuration>", `<location path="plain/ssl">`+strings.TrimSuffix(strings.TrimPrefix(refusing, "<configuration>"), "</configuration>")+`</location></configuration>`, 1),
		"a/index.html": "",
	})
	p := mustBuild(t, served(dir), nil)
	for url, want := range map[string]string{"plain/": "503", "plain/ssl/x": "403", "sent/": "301", "short/": "503", "short/a/b": "404"} {
		host, path, _ := strings.Cut(url, "/")
		status, _ := getFrom(t, p, host, "/"+path)
		x, err := Explain(served(dir), parts(), Question{URL: "http://" + url})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(x.Answer, want) || strconv.Itoa(status) != want {
			t.Errorf("%s is answered with %d, want %s, and explained as %s", url, status, want, x.Answer)
		}
	}
}
