package plan

import (
	"crypto/tls"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/perchserver/perch/internal/certs"
	"github.com/perchserver/perch/internal/config"
)

// shown tells in one line what is shown at the TLS bindings of a plan.
func shown(p *Plan, dir string) string {
	var all []string
	for _, b := range p.Secure {
		line := fmt.Sprintf("%s %s any=%v h2=%v 1.3=%v dev=%v", b.URL, b.Addr, b.AnyName, !b.NoHTTP2, !b.NoTLS13, b.Issue != nil)
		for _, s := range b.Sources {
			line += fmt.Sprintf(" %s,%s,%s,%s", s.Path, s.Key, s.Password, s.PasswordFile)
		}
		all = append(all, strings.ReplaceAll(line, dir+string(filepath.Separator), ""))
	}
	return strings.Join(all, "\n")
}

// What a site's https bindings say of certificates reaches the TLS stage; what
// is wrong with one of them concerns it alone.
func TestSecureBindings(t *testing.T) {
	site := func(bindings string) string {
		return hostConfig("", `<site name="s" id="1"><application path="/"><virtualDirectory path="/" physicalPath="w" /></application><bindings>`+bindings+`</bindings></site>`)
	}
	issue := func(string) (*tls.Certificate, error) { return nil, nil }
	for _, tt := range []struct {
		name, bindings string
		line           []certs.Source // of the command line
		want           string
		problems       []config.Code
	}{
		{"own", `<binding protocol="https" bindingInformation="*:443:a.test" sslFlags="37" certificateFile="a.pem" certificateKeyFile="a.txt" />`, nil,
			"https://a.test:443 invalid IP any=false h2=false 1.3=false dev=false a.pem,a.txt,,", nil},
		{"of the address", `<binding protocol="HTTPS" bindingInformation="10.0.0.1:443:a.test" certificateFile="a.pfx" certificatePassword="%PW%" />`, nil,
			"https://a.test:443 10.0.0.1 any=true h2=true 1.3=true dev=false a.pfx,,secret,", nil},
		{"password file", `<binding protocol="https" bindingInformation="*:443:" certificateFile="a.pfx" certificatePasswordFile="pw" />`, nil,
			"https://*:443 invalid IP any=true h2=true 1.3=true dev=false a.pfx,,,pw", nil},
		{"development", `<binding protocol="https" bindingInformation="*:443:a.localhost" sslFlags="1" /><binding protocol="https" bindingInformation="127.0.0.1:444:" />`, nil,
			"https://a.localhost:443 invalid IP any=false h2=true 1.3=true dev=true\nhttps://127.0.0.1:444 127.0.0.1 any=true h2=true 1.3=true dev=true", nil},
		{"of the command line", `<binding protocol="https" bindingInformation="*:443:a.test" sslFlags="1" /><binding protocol="https" bindingInformation="*:443:b.test" sslFlags="1" certificateFile="b.pem" />`,
			[]certs.Source{{Path: "/all"}},
			"https://a.test:443 invalid IP any=false h2=true 1.3=true dev=false /all,,,\nhttps://b.test:443 invalid IP any=false h2=true 1.3=true dev=false b.pem,,,", nil},
		{"none", `<binding protocol="https" bindingInformation="*:443:a.test" /><binding protocol="http" bindingInformation="*:80:a.test" />`, nil, "", []config.Code{config.NoCertificate}},
		{"never shown", `<binding protocol="https" bindingInformation="*:443:a.test" certificateFile="a.pem" /><binding protocol="https" bindingInformation="*:443:b.test" certificateFile="b.pem" />`, nil,
			"https://a.test:443 invalid IP any=true h2=true 1.3=true dev=false a.pem,,,\nhttps://b.test:443 invalid IP any=true h2=true 1.3=true dev=false b.pem,,,", []config.Code{config.BindingTaken}},
		{"two schemes", `<binding protocol="http" bindingInformation="*:443:a.test" /><binding protocol="https" bindingInformation="127.0.0.1:443:" />`, nil, "", []config.Code{config.BindingTaken}},
	} {
		dir := tree(t, map[string]string{"applicationHost.config": site(tt.bindings), "w/a.txt": "a"})
		in := served(dir)
		in.Certificates, in.Environ = tt.line, []string{"PW=secret"}
		set := parts()
		set.Issue = issue
		p, err := Build(in, set, nil)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		var codes []config.Code
		for _, problem := range p.Problems {
			codes = append(codes, problem.Code)
		}
		if got := shown(p, dir); got != tt.want || fmt.Sprint(codes) != fmt.Sprint(tt.problems) {
			t.Errorf("%s: got\n%s\nwant\n%s\nproblems %v", tt.name, got, tt.want, p.Problems)
		}
	}
}

// A check reads the certificates too, and tells what is wrong with one at the
// place that names it.
func TestCheckReadsCertificates(t *testing.T) {
	dir := tree(t, map[string]string{"w/a.txt": "a", "noise.pem": "noise", "applicationHost.config": hostConfig("",
		`<site name="s" id="1"><application path="/"><virtualDirectory path="/" physicalPath="w" /></application><bindings>
<binding protocol="https" bindingInformation="*:443:a.test" sslFlags="1" certificateFile="noise.pem" />
<binding protocol="https" bindingInformation="*:443:b.test" sslFlags="1" certificateFile="gone.pem" /></bindings></site>`)})
	problems, err := Check(served(dir), parts())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range problems {
		got = append(got, fmt.Sprintf("%s %d", p.Code, p.Pos.Line))
		if !strings.Contains(p.Message, ".pem") || !strings.HasPrefix(p.Message, "certificate of https://") {
			t.Errorf("%s", p.Message)
		}
	}
	if want := "PC056 6, PC056 7"; strings.Join(got, ", ") != want {
		t.Errorf("got %v, want %s", problems, want)
	}
}
