package plan

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/perchserver/perch/internal/certs"
	"github.com/perchserver/perch/internal/config"
	"github.com/perchserver/perch/internal/config/merge"
	"github.com/perchserver/perch/internal/config/schema"
	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/handler/static"
	"github.com/perchserver/perch/internal/http1"
	"github.com/perchserver/perch/internal/listen"
	"github.com/perchserver/perch/internal/site"
)

// Question is a request whose way is to be explained.
type Question struct {
	URL    string
	Method string     // empty: GET
	Addr   netip.Addr // local address that it comes to; zero: one that leads to a site
}

// URLError is the text of a question that is no URL of a request.
type URLError string

func (e URLError) Error() string {
	text := string(e)
	if i := strings.LastIndexByte(text, '@'); i >= 0 {
		text = text[i+1:] // a password is not shown
	}
	return fmt.Sprintf("%q is not the URL of a request over http or https", text)
}

// Explanation is the way of a request, as far as it comes. Places are
// "file:line:column", empty where no file says so.
type Explanation struct {
	URL    string `json:"url"`
	Method string `json:"method"`

	Binding     *Named   `json:"binding,omitempty"`     // its URL
	Certificate []string `json:"certificate,omitempty"` // where it is looked for
	Site        string   `json:"site,omitempty"`
	Application *Named   `json:"application,omitempty"` // its path in the site
	Pool        string   `json:"pool,omitempty"`
	Directory   *Named   `json:"virtualDirectory,omitempty"` // its path in the site
	Physical    string   `json:"physicalPath,omitempty"`

	// Configuration is the configuration path, and Files what was read for
	// it, the outermost first.
	Configuration string   `json:"configuration,omitempty"`
	Files         []string `json:"files,omitempty"`

	Modules  []string  `json:"modules,omitempty"` // in the order of the request
	Handler  *Named    `json:"handler,omitempty"` // entry of the handlers section
	Settings []Setting `json:"settings,omitempty"`

	// Answer tells who or what answers.
	Answer string `json:"answer"`

	// Refused is set where that is an error.
	Refused bool `json:"refused"`

	// Problems are those of the part that answers with an error.
	Problems config.Problems `json:"problems,omitempty"`
}

// Named is a thing of the configuration and where it is written.
type Named struct {
	Name  string `json:"name"`
	Place string `json:"place,omitempty"`
}

// Setting is a value that a file sets and where it does.
type Setting struct {
	Name  string `json:"name"` // "system.webServer/webSocket/@enabled"
	Value string `json:"value,omitempty"`
	Place string `json:"place"`

	// NotDone is set for what Perch does not do. Of an element, or a whole
	// section, that it does not do there is one for all, without a value.
	NotDone bool `json:"notDone,omitempty"`
}

// place is what a node was made from.
type place struct {
	at       string
	refused  *exchange.Error // what it answers with, for problems; nil: it serves, by what follows
	problems config.Problems

	settings *merge.Settings
	mount    *mount
	app      *Application
	modules  []string
	choice   *site.Choice
}

// Explain tells which way a request takes, by the plan that would serve it.
// It starts nothing. The error is a URLError for a question that makes no
// sense, and another for what cannot be served at all.
func Explain(in Input, parts Parts, q Question) (*Explanation, error) {
	u, err := url.Parse(q.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, URLError(q.URL)
	}
	if port := u.Port(); port != "" {
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return nil, URLError(q.URL)
		}
	}
	u.User = nil // no part of the request
	in.Explained = true
	p, err := Build(in, parts, nil)
	if err != nil {
		return nil, err
	}
	x := &Explanation{URL: u.String(), Method: q.Method}
	if x.Method == "" {
		x.Method = "GET"
	}
	if err := fits(x.Method, u, p.Connections.Head); err != nil {
		return x.refuse(err.Error()), nil
	}
	if _, ok := http1.Method([]byte(x.Method)); !ok {
		return x.refuse("400: the method is not a token"), nil
	}
	var r exchange.Request
	r.Method, r.Host = x.Method, []byte(u.Host)
	target := u.EscapedPath()
	if target == "" {
		target = "/"
	}
	if _, err := http1.ParseTarget([]byte(target), &r, nil); err != nil {
		return x.refuse("400: " + err.Error()), nil
	}
	return p.explain(x, u, q.Addr, &r), nil
}

// fits returns why the head of a request is too large, nil if it is not. Other
// fields than Host are not known.
func fits(method string, u *url.URL, limits http1.Limits) error {
	if limits.Line == 0 {
		return nil // those of a folder whose configuration is in error are not known
	}
	line := method + " " + u.RequestURI() + " HTTP/1.1\r\n"
	var s http1.Scanner
	switch _, err := s.Scan([]byte(line+"Host: "+u.Host+"\r\n\r\n"), &limits); err {
	case http1.LineTooLong:
		return fmt.Errorf("414: the request line has %d bytes, and maxRequestLineSize of perch/limits is %d", len(line), limits.Line)
	case http1.FieldsTooLarge:
		return fmt.Errorf("431: the host alone makes the header fields larger than the %d bytes of maxRequestHeadersTotalSize of perch/limits", limits.Fields)
	default:
		return nil
	}
}

// refuse ends the way of a request.
func (x *Explanation) refuse(answer string) *Explanation {
	x.Answer, x.Refused = answer, true
	return x
}

// explain follows a request from its port to its handler.
func (p *Plan) explain(x *Explanation, u *url.URL, addr netip.Addr, r *exchange.Request) *Explanation {
	bound, port := p.find(u, addr)
	if bound == nil {
		return x.refuse(p.unclaimed(port, u.Scheme == "https"))
	}
	s, i := p.bound(bound)
	l := s.def.bindings[i]
	x.Binding = &Named{Name: l.URL}
	if s.def.places != nil {
		x.Binding.Place = s.def.places[i].String()
	}
	x.Site = s.Name + " (id " + s.def.id + ")"
	if l.TLS != (u.Scheme == "https") {
		return x.refuse("none: the port of " + l.URL + " does not speak " + u.Scheme)
	}
	if l.TLS {
		x.Certificate = p.shown(l)
	}
	node, err := s.tree.Resolve(&r.Target)
	if err != nil {
		return x.refuse(answer(err))
	}
	x.locate(s, string(r.Target.Path))
	x.limits(p, s)
	from := s.reader.places[node]
	x.Configuration, x.Files = s.reader.at(from.at), s.reader.files(from.at)
	if from.refused != nil {
		x.Problems = from.problems
		return x.refuse(status(from.refused) + ": the configuration of this part of the site is in error; a host that runs goes on by the last one that it could use, if there was one")
	}
	x.Modules = from.modules
	if h := s.def.hsts; h != nil && h.Redirect && !l.TLS {
		x.Answer = "301: sent on to the same host over https, by redirectHttpToHttps"
		return x
	}
	access := s.reader.access(from.settings)
	asked := ""
	if s.asksClients {
		asked = s.reader.authorities(i)
	}
	if err := access.Explain(l.TLS, asked); err != nil {
		x.tell(from.settings, accessSection)
		return x.refuse(answer(err))
	}
	filter := s.reader.filter(from.settings)
	if err := filter.Judge(&r.Target); err != nil {
		x.tell(from.settings, requestFiltering)
		return x.refuse(answer(err))
	}
	if refused := from.app.refused; refused != "" {
		return x.refuse("503: " + refused)
	}
	if x.handle(from, r); access.Require && !x.Refused {
		x.Answer += "; a client without a certificate gets 403.7"
	}
	return x
}

// find looks a URL up as the server does. Where the address that the request
// comes to is not known, it is one that somebody claims.
func (p *Plan) find(u *url.URL, addr netip.Addr) (*site.Binding, uint16) {
	port := uint16(80)
	if u.Scheme == "https" {
		port = 443
	}
	if n, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
		port = uint16(n)
	}
	candidates := []netip.Addr{addr}
	if !addr.IsValid() {
		if ip, err := netip.ParseAddr(u.Hostname()); err == nil {
			candidates[0] = ip.WithZone("")
		} else if strings.EqualFold(u.Hostname(), "localhost") {
			candidates[0] = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		} else {
			candidates = append(candidates, p.addrs(port)...)
		}
	}
	for _, local := range candidates {
		if b := p.table.Find(netip.AddrPortFrom(local, port), []byte(u.Host)); b != nil {
			return b, port
		}
	}
	return nil, port
}

// addrs returns the addresses that bindings of a port name.
func (p *Plan) addrs(port uint16) (all []netip.Addr) {
	for _, s := range p.Sites {
		for _, l := range s.def.bindings {
			if l.Port == port {
				all = append(all, l.Addrs()...)
			}
		}
	}
	return all
}

// unclaimed says why no site is found. Where every certificate of the port is for
// a host, a client that asks for another one does not get through the handshake.
func (p *Plan) unclaimed(port uint16, secure bool) string {
	here := func(b certs.Binding) bool { return b.Port == port }
	if secure && slices.ContainsFunc(p.Secure, here) &&
		!slices.ContainsFunc(p.Secure, func(b certs.Binding) bool { return here(b) && (b.AnyName || b.Host == "") }) {
		return "none: no binding of port " + strconv.Itoa(int(port)) + " claims the host: the handshake is refused"
	}
	var others []string
	for _, s := range p.Sites {
		for _, l := range s.def.bindings {
			if l.Port == port {
				return "400: no binding of port " + strconv.Itoa(int(port)) + " claims the host"
			}
			others = append(others, l.URL)
		}
	}
	if others == nil {
		return "none: nobody listens on port " + strconv.Itoa(int(port)) + ", and no site has a binding"
	}
	return "none: nobody listens on port " + strconv.Itoa(int(port)) + "; the bindings are " + strings.Join(others, ", ")
}

// bound returns the site of a binding of the table, and its number there.
func (p *Plan) bound(b *site.Binding) (*Site, int) {
	for _, s := range p.Sites {
		if s.tree != b.Site {
			continue
		}
		for i, l := range s.def.bindings {
			if l.Port == b.Port && strings.EqualFold(l.Host, b.Host) && slices.Contains(l.Addrs(), b.Addr) {
				return s, i
			}
		}
	}
	panic("plan: the table has a binding that no site has")
}

// shown tells where the certificate of a binding is looked for.
func (p *Plan) shown(l listen.Binding) []string {
	for _, b := range p.Secure {
		if b.Port != l.Port || b.Host != l.Host || b.Addr != l.Addrs()[0] {
			continue
		}
		var all []string
		for _, s := range b.Sources {
			all = append(all, s.Path)
		}
		if all == nil && Development(l) {
			all = []string{"a development certificate"}
		} else if all == nil {
			all = []string{"that of --cert, which perch run needs here"}
		}
		return all
	}
	return nil
}

// locate tells application, virtual directory and physical path.
func (x *Explanation) locate(s *Site, path string) {
	m := s.reader.mount(path)
	x.Directory = &Named{m.path, m.missing.Pos.String()}
	x.Physical = s.reader.physical(path)
	for _, a := range s.def.apps {
		if a.path == m.app {
			x.Application = &Named{a.path, a.dirs[0].missing.Pos.String()}
			x.Pool = a.pool.name
		}
	}
}

// limits tells what holds for the site as a whole.
func (x *Explanation) limits(p *Plan, s *Site) {
	if p.server == nil {
		return
	}
	const sites = "system.applicationHost/sites"
	for _, e := range p.server.settings.Section(sites).Entries() {
		if strings.EqualFold(e.Text("name"), s.Name) {
			for _, child := range []string{"limits", "hsts"} {
				x.element(sites+"/site/"+child, e.Child(child))
			}
		}
	}
}

// files returns the files that rule a path, the outermost first.
func (r *reader) files(at string) (all []string) {
	for _, l := range r.layersOf(at) {
		if l.File != nil && !slices.Contains(all, l.File.Path()) {
			all = append(all, l.File.Path())
		}
	}
	return all
}

// handle tells which handler answers, and the settings that matter to it.
func (x *Explanation) handle(from *place, request *exchange.Request) {
	const handlers = "system.webServer/handlers"
	i, err := from.choice.Find(request)
	if err != nil {
		x.tell(from.settings, handlers)
		x.refuse(answer(err))
		return
	}
	e := from.settings.Section(handlers).Entries()[i]
	modules := e.Text("modules")
	x.Handler = &Named{e.Text("name") + " (" + modules + ")", e.Pos().String()}
	leave := []string{handlers, "system.webServer/aspNetCore", "system.webServer/httpPlatform"}
	switch h := from.choice.Entries[i].Handler.(type) {
	case refusal:
		x.refuse(answer(h.Error))
	case *static.Handler:
		x.file(h, request)
	default:
		section, _ := isApplication(modules)
		x.Answer = "the application " + from.app.Name + ": " + strings.TrimSpace(from.app.Settings.ProcessPath+" "+from.app.Settings.Arguments)
		leave = slices.DeleteFunc(append(leave, "system.webServer/staticContent", "system.webServer/defaultDocument"),
			func(s string) bool { return s == section })
		if e := from.app.Settings.Foresee(); e != nil {
			x.refuse(answer(e))
		}
	}
	for _, s := range from.settings.Sections() {
		if !slices.Contains(leave, s) {
			x.tell(from.settings, s)
		}
	}
}

// file tells which file answers, or why none does.
func (x *Explanation) file(h *static.Handler, request *exchange.Request) {
	switch file, moved, err := h.Explain(request); {
	case err != nil:
		x.refuse(answer(err))
	case moved:
		x.Answer = "301: sent on to the folder's path with a slash at its end"
	default:
		x.Answer = "the file " + file
	}
}

// answer is an error as a client sees it.
func answer(err error) string {
	e := exchange.AsError(err)
	text := status(e)
	if e.Err != nil && !errors.As(e.Err, new(*exchange.Error)) {
		text += ": " + e.Err.Error()
	}
	return text
}

// status is that of an error, with its sub-status.
func status(e *exchange.Error) string {
	if e.SubStatus == 0 {
		return strconv.Itoa(e.Status)
	}
	return strconv.Itoa(e.Status) + "." + strconv.Itoa(e.SubStatus)
}

// tell adds what files set of a section. What is without effect is left out.
func (x *Explanation) tell(s *merge.Settings, section string) { x.element(section, s.Section(section)) }

// mostEntries is how many entries of a collection are worth telling.
const mostEntries = 30

// element adds what files set of an element. Secrets are kept, as are the
// values of environment variables, which often are some.
func (x *Explanation) element(name string, e merge.Element) {
	def := e.Schema()
	if def.Status != schema.Done {
		if def.Status == schema.Known {
			x.Settings = append(x.Settings, Setting{Name: name, Place: e.Pos().String(), NotDone: true})
		}
		return
	}
	for i := range def.Attributes {
		a := &def.Attributes[i]
		v := e.Attribute(a.Name)
		if !v.Set || a.Status == schema.Ignored || v.Pos.File == builtIn {
			continue
		}
		value := v.Text
		if a.Secret || a.Name == "value" && strings.Contains(name, "environmentVariables") {
			value = "(not shown)"
		}
		x.Settings = append(x.Settings, Setting{name + "/@" + a.Name, value, v.Pos.String(), a.Unobeyed(v.Value)})
	}
	for i := range def.Elements {
		if child := e.Child(def.Elements[i].Name); child.Present {
			x.element(name+"/"+def.Elements[i].Name, child)
		}
	}
	if def.Collection == nil {
		return
	}
	entries := e.Entries()
	for _, entry := range entries[:min(len(entries), mostEntries)] {
		x.element(name+"/"+def.Collection.Add, entry)
	}
	if more := len(entries) - mostEntries; more > 0 {
		x.Settings = append(x.Settings, Setting{Name: name + "/" + def.Collection.Add, Value: fmt.Sprintf("(%d more)", more)})
	}
}

// String tells the explanation to people.
func (x *Explanation) String() string {
	var b strings.Builder
	line := func(name, text, place string) {
		if text == "" {
			return
		}
		if place != "" {
			text += "  " + place
		}
		fmt.Fprintf(&b, "%-18s %s\n", name, text)
	}
	named := func(name string, n *Named) {
		if n != nil {
			line(name, n.Name, n.Place)
		}
	}
	line("request", x.Method+" "+x.URL, "")
	named("binding", x.Binding)
	line("certificate", strings.Join(x.Certificate, ", "), "")
	line("site", x.Site, "")
	named("application", x.Application)
	line("pool", x.Pool, "")
	named("virtual directory", x.Directory)
	line("physical path", x.Physical, "")
	line("configuration", x.Configuration, "")
	for _, f := range x.Files {
		line("", f, "")
	}
	line("modules", strings.Join(x.Modules, ", "), "")
	named("handler", x.Handler)
	line("answer", x.Answer, "")
	for _, s := range x.Settings {
		kind, text := "setting", s.Name
		if s.NotDone {
			kind = "not done"
		}
		if s.Value != "" || strings.Contains(s.Name, "@") {
			text += `="` + s.Value + `"`
		}
		line(kind, text, s.Place)
	}
	if len(x.Problems) > 0 {
		b.WriteByte('\n')
		x.Problems.WriteTo(&b)
	}
	return b.String()
}
