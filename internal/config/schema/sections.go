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

	// Sections of IIS that Perch does not obey yet. Their contents are not
	// looked at.
	known("system.webServer/applicationInitialization"),
	known("system.webServer/asp"),
	known("system.webServer/caching"),
	known("system.webServer/cgi"),
	known("system.webServer/httpCompression"),
	known("system.webServer/httpErrors"),
	known("system.webServer/httpLogging"),
	known("system.webServer/httpProtocol"),
	known("system.webServer/httpRedirect"),
	known("system.webServer/httpTracing"),
	known("system.webServer/isapiFilters"),
	known("system.webServer/odbcLogging"),
	known("system.webServer/security/applicationDependencies"),
	known("system.webServer/serverRuntime"),
	known("system.webServer/serverSideInclude"),
	known("system.webServer/tracing/traceFailedRequests"),
	known("system.webServer/tracing/traceProviderDefinitions"),
	known("system.webServer/urlCompression"),

	// Sections that keep somebody out.
	restricts("system.webServer/security/authentication/clientCertificateMappingAuthentication"),
	restricts("system.webServer/security/authentication/iisClientCertificateMappingAuthentication"),
	restricts("system.webServer/security/authorization"),
	restricts("system.webServer/security/dynamicIpSecurity"),
	restricts("system.webServer/security/ipSecurity"),

	// Sections of extensions: URL Rewrite, Application Request Routing, CORS,
	// WebDAV, iisnode, FTP.
	known("system.webServer/rewrite/allowedServerVariables"),
	known("system.webServer/rewrite/outboundRules"),
	known("system.webServer/rewrite/providers"),
	known("system.webServer/rewrite/rewriteMaps"),
	known("system.webServer/rewrite/rules"),
	restricts("system.webServer/cors"),
	known("system.webServer/iisnode"),
	known("system.webServer/webdav/authoring"),
	restricts("system.webServer/webdav/authoringRules"),
	known("system.ftpServer"),

	// Sections of the server as a whole.
	server("system.applicationHost/configHistory"),
	server("system.applicationHost/customMetadata"),
	server("system.applicationHost/listenerAdapters"),
	server("system.applicationHost/serviceAutoStartProviders"),
	server("system.webServer/diskCache"),
	server("system.webServer/fastCgi"),
	server("system.webServer/globalModules"),
	server("system.webServer/management"),
	server("system.webServer/proxy"),
	server("system.webServer/rewrite/globalRules"),
	server("system.webServer/security/isapiCgiRestriction"),
	server("system.webServer/webdav/globalSettings"),
	server("webFarms"),

	// What speaks to .NET or to the application alone. system.web is among
	// it: its modules see requests of managed handlers only, never those of
	// an application out of process.
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

func server(path string) Section {
	return Section{Path: path, ServerOnly: true, Element: Element{Status: Known}}
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
	{Name: "lockAttributes", Status: Known},
	{Name: "lockAllAttributesExcept", Status: Known},
	{Name: "lockElements", Status: Known},
	{Name: "lockAllElementsExcept", Status: Known},
	{Name: "lockItem", Type: Bool, Default: "false", Status: Known, Obeyed: "false"},
}

// protection moves the contents of a section elsewhere.
var protection = [...]Attribute{
	{Name: "configSource", Status: Refused},
	{Name: "configProtectionProvider", Status: Refused},
}
