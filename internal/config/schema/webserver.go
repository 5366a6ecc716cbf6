package schema

// aspNetCore is the section of the ASP.NET Core Module, version 2. There is
// no startupRetryCount. That processPath is required is judged after
// inheritance: a <location> may change one attribute of the section above it.
var aspNetCore = Section{Path: "system.webServer/aspNetCore", Element: Element{
	Attributes: []Attribute{
		{Name: "processPath", Expanded: true, Required: true, NonEmpty: true},
		{Name: "arguments", Expanded: true},
		{Name: "startupTimeLimit", Type: Uint, Default: "120", Range: &Range{Max: 3600}}, // seconds
		{Name: "shutdownTimeLimit", Type: Uint, Default: "10", Range: &Range{Max: 600}},  // seconds
		{Name: "rapidFailsPerMinute", Type: Uint, Default: "10", Range: &Range{Max: 100}},
		{Name: "requestTimeout", Type: TimeSpan, Default: "00:02:00", Range: &Range{Max: 1_296_000, Step: 1}},
		{Name: "stdoutLogEnabled", Type: Bool, Default: "false"},
		{Name: "stdoutLogFile", Expanded: true, Default: `.\aspnetcore-stdout`},
		{Name: "processesPerApplication", Type: Uint, Default: "1", Range: &Range{Min: 1, Max: 100}},
		// Without Windows authentication, which is reported where it is
		// configured, there is no token to forward.
		{Name: "forwardWindowsAuthToken", Type: Bool, Default: "true", Status: Ignored},
		{Name: "disableStartUpErrorPage", Type: Bool, Default: "false"},
		{Name: "hostingModel", Type: Enum, Default: "outofprocess", Names: []Name{
			{"outofprocess", 0}, {"inprocess", 1}, {"", 0}, // empty is as good as missing
		}},
	},
	Elements: []Element{
		environmentVariables,
		{Name: "handlerSettings", Collection: &Collection{Add: "handlerSetting", Clear: "clear", Entry: nameAndValue, Own: []Attribute{
			protocol("perch.applicationProtocol"),
		}}},
		recycleOnFileChange,
	},
}}

// protocol is what the application speaks on its port: HTTP/1.1, or HTTP/2
// without TLS and nothing else. The values are Kestrel's names for that.
func protocol(name string) Attribute {
	return Attribute{Name: name, Type: Enum, Default: "Http1", Names: []Name{{"Http1", 1}, {"Http2", 2}}}
}

// perchHTTPPlatform is what Perch adds to httpPlatform, which has no
// handlerSettings to hold it.
var perchHTTPPlatform = Section{Path: "perch/httpPlatform", Where: ToApplication, Element: Element{
	Attributes: []Attribute{protocol("applicationProtocol")},
}}

// httpPlatform is the section of HttpPlatformHandler, version 1.2. Without a
// startupRetryCount an application is started twice at most, as that of
// aspNetCore is; HttpPlatformHandler itself tries ten times.
var httpPlatform = Section{Path: "system.webServer/httpPlatform", Element: Element{
	Attributes: []Attribute{
		{Name: "processPath", Expanded: true, Required: true, NonEmpty: true},
		{Name: "arguments", Expanded: true},
		{Name: "startupTimeLimit", Type: Uint, Default: "10", Range: &Range{Max: 3600}}, // seconds
		{Name: "startupRetryCount", Type: Uint, Default: "2", Range: &Range{Max: 100}},
		{Name: "rapidFailsPerMinute", Type: Uint, Default: "10", Range: &Range{Max: 100}},
		{Name: "requestTimeout", Type: TimeSpan, Default: "00:02:00", Range: &Range{Max: 2_592_000, Step: 60}},
		{Name: "stdoutLogEnabled", Type: Bool, Default: "false"},
		{Name: "stdoutLogFile", Expanded: true, Default: `.\httpplatform-stdout`},
		{Name: "processesPerApplication", Type: Uint, Default: "1", Range: &Range{Min: 1, Max: 100}},
		{Name: "forwardWindowsAuthToken", Type: Bool, Default: "false", Status: Ignored},
	},
	Elements: []Element{environmentVariables, recycleOnFileChange},
}}

// environmentVariables has no keys: one name may come several times, and what
// that means is the reader's matter.
var environmentVariables = Element{
	Name: "environmentVariables", Collection: &Collection{Add: "environmentVariable", Clear: "clear", Entry: nameAndValue},
}

var nameAndValue = Element{Attributes: []Attribute{
	{Name: "name", Required: true, NonEmpty: true},
	{Name: "value", Required: true},
}}

// recycleOnFileChange is accepted and without effect, as in version 2 of the
// module.
var recycleOnFileChange = Element{
	Name: "recycleOnFileChange", Collection: &Collection{Add: "file", Clear: "clear", Entry: Element{Attributes: []Attribute{
		{Name: "path", Expanded: true, Required: true, NonEmpty: true},
	}}},
}

// handlers says who answers which requests. What belongs to kinds of handlers
// that Perch does not have is ignored: the handler itself is what is reported.
var handlers = Section{Path: "system.webServer/handlers", Open: true, Replaces: true, Element: Element{
	Attributes: []Attribute{
		{Name: "accessPolicy", Type: Flags, Default: "Read", Status: Known, Restricts: true, Obeyed: "Read, Script", Names: []Name{
			{"None", 0}, {"Read", 1}, {"Write", 2}, {"Execute", 4}, {"Source", 16}, {"Script", 512},
			{"NoRemoteWrite", 1024}, {"NoRemoteRead", 4096}, {"NoRemoteExecute", 8192}, {"NoRemoteScript", 16384},
		}},
	},
	Collection: &Collection{Add: "add", Remove: "remove", Clear: "clear", Prepend: true, Entry: Element{Attributes: []Attribute{
		{Name: "name", Key: true, CaseSensitive: true, Required: true, NonEmpty: true},
		{Name: "path", Required: true, NonEmpty: true},
		{Name: "verb", CaseSensitive: true, Required: true},
		{Name: "modules", CaseSensitive: true, Default: "ManagedPipelineHandler"},
		{Name: "resourceType", Type: Enum, Default: "Unspecified", Names: []Name{
			{"File", 0}, {"Directory", 1}, {"Either", 2}, {"Unspecified", 3},
		}},
		{Name: "requireAccess", Type: Enum, Default: "Script", Status: Ignored, Names: []Name{
			{"None", 0}, {"Read", 1}, {"Write", 2}, {"Script", 3}, {"Execute", 4},
		}}, // the other half of accessPolicy
		{Name: "preCondition", CaseSensitive: true, Status: Known},
		{Name: "type", CaseSensitive: true, Status: Ignored},
		{Name: "scriptProcessor", Expanded: true, Status: Ignored},
		{Name: "allowPathInfo", Type: Bool, Default: "false", Status: Ignored},
		{Name: "responseBufferLimit", Type: Uint, Default: "4194304", Status: Ignored}, // Perch streams
	}}},
}}

// modules switches features of IIS on and off. Perch has its own modules; what
// an application adds, it needs, and what it removes, Perch does not have.
var modules = Section{Path: "system.webServer/modules", Where: ToApplication, Open: true, Element: Element{
	Attributes: []Attribute{
		{Name: "runAllManagedModulesForAllRequests", Type: Bool, Default: "false", Status: Ignored},
		{Name: "runManagedModulesForWebDavRequests", Type: Bool, Default: "false", Status: Ignored},
	},
	Collection: &Collection{Add: "add", Remove: "remove", Clear: "clear", Entry: Element{
		Status: Known,
		Attributes: []Attribute{
			{Name: "name", Key: true, CaseSensitive: true, Required: true, NonEmpty: true},
			{Name: "type", CaseSensitive: true},
			{Name: "preCondition", CaseSensitive: true},
		},
	}},
}}

// defaultDocument names the files that answer for a folder, first come first
// served. The names that IIS ships are in its applicationHost.config.
var defaultDocument = Section{Path: "system.webServer/defaultDocument", Replaces: true, Element: Element{
	Attributes: []Attribute{{Name: "enabled", Type: Bool, Default: "true"}},
	Elements: []Element{{
		Name: "files", Collection: &Collection{Add: "add", Remove: "remove", Clear: "clear", Prepend: true, Entry: Element{
			Attributes: []Attribute{{Name: "value", Key: true}},
		}},
	}},
}}

// staticContent has the content types of files and how long clients may keep
// them.
var staticContent = Section{Path: "system.webServer/staticContent", Element: Element{
	Attributes: []Attribute{
		{Name: "defaultDocFooter", CaseSensitive: true, Status: Ignored}, // without enableDocFooter
		{Name: "enableDocFooter", Type: Bool, Default: "false", Status: Known, Obeyed: "false"},
		{Name: "isDocFooterFileName", Type: Bool, Default: "false", Status: Ignored},
	},
	Elements: []Element{{
		Name: "clientCache", Attributes: []Attribute{
			{Name: "cacheControlMode", Type: Enum, Default: "NoControl", Names: []Name{
				{"NoControl", 0}, {"DisableCache", 1}, {"UseMaxAge", 2}, {"UseExpires", 3},
			}},
			{Name: "cacheControlMaxAge", Type: TimeSpan, Default: "1.00:00:00"},
			{Name: "httpExpires"},
			{Name: "cacheControlCustom"},
			{Name: "setEtag", Type: Bool, Default: "true"},
		},
	}},
	Collection: &Collection{Add: "mimeMap", Remove: "remove", Clear: "clear", Entry: Element{Attributes: []Attribute{
		{Name: "fileExtension", Key: true, Required: true},
		{Name: "mimeType", Required: true, NonEmpty: true},
	}}},
}}

// requestFiltering refuses requests. Of it the limit of the body and the hidden
// segments are done.
var requestFiltering = Section{Path: "system.webServer/security/requestFiltering", Element: Element{
	Attributes: []Attribute{
		{Name: "allowDoubleEscaping", Type: Bool, Default: "false", Status: Known, Restricts: true, Obeyed: "true"},
		{Name: "allowHighBitCharacters", Type: Bool, Default: "true", Status: Known, Restricts: true, Obeyed: "true"},
		{Name: "unescapeQueryString", Type: Bool, Default: "true", Status: Known, Restricts: true},
		{Name: "removeServerHeader", Type: Bool, Default: "false", Status: Known},
	},
	Elements: []Element{
		{
			Name: "requestLimits",
			Attributes: []Attribute{
				{Name: "maxAllowedContentLength", Type: Uint, Default: "30000000"}, // bytes
				{Name: "maxUrl", Type: Uint, Default: "4096", Status: Known, Restricts: true},
				{Name: "maxQueryString", Type: Uint, Default: "2048", Status: Known, Restricts: true},
			},
			Elements: []Element{{Name: "headerLimits", Collection: listOf("header", Known, Attribute{Name: "sizeLimit", Type: Uint, Required: true})}},
		},
		{Name: "alwaysAllowedQueryStrings", Status: Known, Collection: listOf("queryString", Done)},
		{Name: "alwaysAllowedUrls", Status: Known, Collection: listOf("url", Done)},
		{Name: "denyQueryStringSequences", Collection: listOf("sequence", Known)},
		{Name: "denyUrlSequences", Collection: listOf("sequence", Known)},
		{Name: "fileExtensions", Attributes: []Attribute{allowUnlisted, applyToWebDAV}, Collection: listOf("fileExtension", Done, allowed)},
		{Name: "filteringRules", Collection: &Collection{Add: "filteringRule", Remove: "remove", Clear: "clear", Entry: Element{
			Status: Known, Restricts: true,
			Attributes: []Attribute{
				{Name: "name", Key: true, Required: true},
				{Name: "scanUrl", Type: Bool, Default: "false"},
				{Name: "scanQueryString", Type: Bool, Default: "false"},
				{Name: "scanAllRaw", Type: Bool, Default: "false"},
				{Name: "denyUnescapedPercent", Type: Bool, Default: "true"},
			},
			Elements: []Element{
				{Name: "scanHeaders", Collection: listOf("requestHeader", Done)},
				{Name: "appliesTo", Collection: listOf("fileExtension", Done)},
				{Name: "denyStrings", Collection: listOf("string", Done)},
			},
		}}},
		// IIS refuses to hide a name again. Which ones it hides by itself
		// depends on what was installed with it, so here that is no error.
		{Name: "hiddenSegments", Attributes: []Attribute{applyToWebDAV}, Collection: &Collection{
			Add: "add", Remove: "remove", Clear: "clear", AllowDuplicates: true,
			Entry: Element{Attributes: []Attribute{{Name: "segment", Key: true, Required: true, NonEmpty: true}}},
		}},
		{Name: "verbs", Attributes: []Attribute{allowUnlisted, applyToWebDAV}, Collection: &Collection{Add: "add", Remove: "remove", Clear: "clear", Entry: Element{
			Attributes: []Attribute{{Name: "verb", CaseSensitive: true, Key: true, Required: true, NonEmpty: true}, allowed},
		}}},
	},
}}

// What is not allowed is reported; what is, is obeyed already.
var (
	allowUnlisted = Attribute{Name: "allowUnlisted", Type: Bool, Default: "true", Status: Known, Restricts: true, Obeyed: "true"}
	allowed       = Attribute{Name: "allowed", Type: Bool, Default: "true", Required: true, Status: Known, Restricts: true, Obeyed: "true"}
	applyToWebDAV = Attribute{Name: "applyToWebDAV", Type: Bool, Default: "true", Status: Ignored}
)

// listOf describes a list of texts that is part of request filtering. An
// entry that is Known keeps requests out.
func listOf(key string, status Status, more ...Attribute) *Collection {
	return &Collection{Add: "add", Remove: "remove", Clear: "clear", Entry: Element{
		Status: status, Restricts: status == Known,
		Attributes: append([]Attribute{{Name: key, Key: true, Required: true, NonEmpty: true}}, more...),
	}}
}

// directoryBrowse lists folders. Perch never does.
var directoryBrowse = Section{Path: "system.webServer/directoryBrowse", Element: Element{
	Attributes: []Attribute{
		{Name: "enabled", Type: Bool, Default: "false", Status: Known, Obeyed: "false"},
		{Name: "showFlags", Type: Flags, Default: "Date, Time, Size, Extension", Status: Ignored, Names: []Name{
			{"None", 0}, {"Date", 2}, {"Time", 4}, {"Size", 8}, {"Extension", 16}, {"LongDate", 32},
		}},
	},
}}

// webSocket lets clients change to the WebSocket protocol.
var webSocket = Section{Path: "system.webServer/webSocket", Deny: true, Element: Element{
	Attributes: []Attribute{
		{Name: "enabled", Type: Bool, Default: "true"},
		// For WebSockets that end in IIS; those of an application out of
		// process are relayed as bytes.
		{Name: "receiveBufferLimit", Type: Uint, Default: "4194304", Range: &Range{Min: 4096, Max: 2147483647}, Status: Ignored},
		{Name: "pingInterval", Type: TimeSpan, Default: "00:00:00", Range: &Range{Max: 86400, Step: 1}, Status: Known, Obeyed: "00:00:00"},
	},
}}
