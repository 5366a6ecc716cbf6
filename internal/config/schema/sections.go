package schema

// Builtin returns the sections that Perch knows: those of IIS and its usual
// extensions, and those of .NET that a web.config may hold. The table is
// shared and must not be changed.
func Builtin() Table { return builtin }

// builtin has the sections that Perch reads first, then those it only knows.
// A section that comes to be obeyed gets its description here; nothing else
// changes.
var builtin = Table{
	aspNetCore,
	httpPlatform,
	handlers,
	modules,
	defaultDocument,
	staticContent,
	requestFiltering,
	webSocket,
	directoryBrowse,
	access,
	anonymousAuthentication,
	basicAuthentication,
	digestAuthentication,
	windowsAuthentication,
	sites,
	applicationPools,
	webLimits,
	log,
	limits,
	perchHTTPPlatform,

	// Sections of IIS that Perch does not obey yet.
	applicationInitialization,
	caching,
	httpCompression,
	httpErrors,
	httpLogging,
	httpProtocol,
	httpRedirect,
	serverRuntime,
	urlCompression,
	httpTracing,
	traceFailedRequests,
	traceProviderDefinitions,
	asp,
	cgi,
	fastCgi,
	globalModules,
	isapiFilters,
	odbcLogging,
	serverSideInclude,
	applicationDependencies,
	isapiCgiRestriction,
	configHistory,
	configurationRedirection,
	listenerAdapters,
	serviceAutoStartProviders,

	// Sections of IIS that ask who the client is.
	authorization,
	clientCertificateMappingAuthentication,
	iisClientCertificateMappingAuthentication,
	dynamicIPSecurity,
	ipSecurity,

	// Sections of extensions: URL Rewrite, Application Request Routing.
	rewriteAllowedServerVariables,
	rewriteGlobalRules,
	rewriteOutboundRules,
	rewriteProviders,
	rewriteMaps,
	rewriteRules,
	proxy,
	diskCache,
	webFarms,

	// Sections whose contents are not looked at: of extensions (CORS, WebDAV,
	// iisnode, FTP) and of IIS's own administration.
	restricts("system.webServer/cors"),
	known("system.webServer/iisnode"),
	denied(known("system.webServer/webdav/authoring")),
	denied(restricts("system.webServer/webdav/authoringRules")),
	server("system.webServer/webdav/globalSettings"),
	known("system.ftpServer"),
	server("system.applicationHost/customMetadata"),
	server("system.webServer/management"),

	// ASP.NET's own rules of access. An application out of process is not
	// asked for by IIS either, unless it has all requests run through the
	// managed modules; but somebody wrote them to keep somebody out.
	restricts("system.web/authorization"),

	// What speaks to .NET or to the application alone. The rest of system.web
	// is among it: its modules see requests of managed handlers only, never
	// those of an application out of process.
	ignored("appSettings"),
	ignored("assemblyBinding"),
	ignored("configBuilders"),
	ignored("configProtectedData"),
	ignored("connectionStrings"),
	ignored("microsoft.applicationInsights"),
	ignored("mscorlib"),
	ignored("runtime"),
	ignored("startup"),
	ignored("system.codedom"),
	ignored("system.data"),
	ignored("system.data.dataset"),
	ignored("system.data.odbc"),
	ignored("system.data.oledb"),
	ignored("system.data.oracleclient"),
	ignored("system.data.sqlclient"),
	ignored("system.diagnostics"),
	ignored("system.drawing"),
	ignored("system.identityModel"),
	ignored("system.identityModel.services"),
	ignored("system.net"),
	ignored("system.runtime.caching"),
	ignored("system.runtime.remoting"),
	ignored("system.runtime.serialization"),
	ignored("system.serviceModel"),
	ignored("system.serviceModel.activation"),
	ignored("system.transactions"),
	ignored("system.web"),
	ignored("system.web.extensions"),
	ignored("system.webServer/validation"),
	ignored("system.windows.forms"),
	ignored("system.workflow"),
	ignored("system.xaml.hosting"),
	ignored("system.xml"),
	ignored("system.xml.serialization"),
	ignored("uri"),
	ignored("windows"),
}

func known(path string) Section   { return Section{Path: path, Element: Element{Status: Known}} }
func ignored(path string) Section { return Section{Path: path, Element: Element{Status: Ignored}} }

func restricts(path string) Section {
	return Section{Path: path, Element: Element{Status: Known, Restricts: true}}
}

func denied(s Section) Section {
	s.Deny = true
	return s
}

func server(path string) Section {
	return Section{Path: path, Where: ServerOnly, Deny: true, Element: Element{Status: Known}}
}

// Common returns the description of an attribute that every element has, or
// nil. Those of a section alone are found when section is true.
func Common(name string, section bool) *Attribute {
	for i := range locking {
		if locking[i].Name == name {
			return &locking[i]
		}
	}
	for i := range protection {
		if section && protection[i].Name == name {
			return &protection[i]
		}
	}
	return nil
}

// locking forbids the files below to set something.
var locking = [...]Attribute{
	{Name: "lockAttributes"},
	{Name: "lockAllAttributesExcept"},
	{Name: "lockElements"},
	{Name: "lockAllElementsExcept"},
	{Name: "lockItem", Type: Bool, Default: "false"},
}

// protection moves the contents of a section elsewhere.
var protection = [...]Attribute{
	{Name: "configSource"},
	{Name: "configProtectionProvider", Status: Refused},
}
