package schema

// The sections that shape responses: errors, redirects, headers, compression,
// caches, logs.

// httpErrors replaces the bodies of error responses.
var httpErrors = Section{Path: "system.webServer/httpErrors", Element: Element{Status: Known,
	Attributes: []Attribute{
		{Name: "errorMode", Type: Enum, Default: "DetailedLocalOnly", Names: []Name{{"DetailedLocalOnly", 0}, {"Custom", 1}, {"Detailed", 2}}},
		{Name: "existingResponse", Type: Enum, Default: "Auto", Names: []Name{{"Auto", 0}, {"Replace", 1}, {"PassThrough", 2}}},
		{Name: "defaultPath", Expanded: true},
		{Name: "defaultResponseMode", Type: Enum, Default: "File", Names: responseModes},
		{Name: "detailedMoreInformationLink", Default: "http://go.microsoft.com/fwlink/?LinkID=62293"},
		{Name: "allowAbsolutePathsWhenDelegated", Type: Bool, Default: "false"},
	},
	Collection: &Collection{Add: "error", Remove: "remove", Clear: "clear", Entry: Element{Attributes: []Attribute{
		{Name: "statusCode", Type: Uint, Key: true, Required: true, Range: &Range{Min: 400, Max: 999}},
		{Name: "subStatusCode", Type: Int, Default: "-1", Key: true, Range: &Range{Min: -1, Max: 999}}, // -1: any
		{Name: "prefixLanguageFilePath", Expanded: true},
		{Name: "path", Expanded: true, Required: true, NonEmpty: true},
		{Name: "responseMode", Type: Enum, Default: "File", Names: responseModes},
	}}},
}}

var responseModes = []Name{{"File", 0}, {"ExecuteURL", 1}, {"Redirect", 2}}

// httpRedirect sends clients elsewhere.
var httpRedirect = Section{Path: "system.webServer/httpRedirect", Element: Element{Status: Known,
	Attributes: []Attribute{
		{Name: "enabled", Type: Bool, Default: "false"},
		{Name: "destination"},
		{Name: "exactDestination", Type: Bool, Default: "false"},
		{Name: "childOnly", Type: Bool, Default: "false"},
		{Name: "httpResponseStatus", Type: Enum, Default: "Found", Names: []Name{
			{"Permanent", 301}, {"Found", 302}, {"Temporary", 307}, {"PermRedirect", 308},
		}},
	},
	Collection: &Collection{Add: "add", Remove: "remove", Clear: "clear", Entry: Element{Attributes: []Attribute{
		{Name: "wildcard", Key: true, Required: true, NonEmpty: true},
		{Name: "destination", Required: true, NonEmpty: true},
	}}},
}}

// httpProtocol adds header fields.
var httpProtocol = Section{Path: "system.webServer/httpProtocol", Element: Element{
	Attributes: []Attribute{{Name: "allowKeepAlive", Type: Bool, Default: "true"}},
	Elements: []Element{
		{Name: "customHeaders", Collection: headerFields},
		{Name: "redirectHeaders", Status: Known, Collection: headerFields},
	},
}}

var headerFields = &Collection{Add: "add", Remove: "remove", Clear: "clear", Entry: Element{Attributes: []Attribute{
	{Name: "name", Key: true, Required: true, Form: FieldName},
	{Name: "value", CaseSensitive: true, Form: FieldValue},
}}}

// urlCompression switches compression on and off for a part of a site.
var urlCompression = Section{Path: "system.webServer/urlCompression", Element: Element{Status: Known, Attributes: []Attribute{
	{Name: "doStaticCompression", Type: Bool, Default: "true"},
	{Name: "doDynamicCompression", Type: Bool, Default: "true"},
	{Name: "dynamicCompressionBeforeCache", Type: Bool, Default: "false"},
}}}

// httpCompression says how and what is compressed.
var httpCompression = Section{Path: "system.webServer/httpCompression", Element: Element{Status: Known,
	Attributes: []Attribute{
		{Name: "directory", Expanded: true, Default: `%SystemDrive%\inetpub\temp\IIS Temporary Compressed Files`},
		{Name: "doDiskSpaceLimiting", Type: Bool, Default: "true"},
		{Name: "maxDiskSpaceUsage", Type: Uint, Default: "100"},   // MB for each pool
		{Name: "minFileSizeForComp", Type: Uint, Default: "2700"}, // bytes
		{Name: "noCompressionForHttp10", Type: Bool, Default: "true"},
		{Name: "noCompressionForProxies", Type: Bool, Default: "true"},
		{Name: "noCompressionForRange", Type: Bool, Default: "true"},
		{Name: "staticCompressionDisableCpuUsage", Type: Uint, Default: "100", Range: &Range{Max: 100}},
		{Name: "staticCompressionEnableCpuUsage", Type: Uint, Default: "50", Range: &Range{Max: 100}},
		{Name: "dynamicCompressionDisableCpuUsage", Type: Uint, Default: "90", Range: &Range{Max: 100}},
		{Name: "dynamicCompressionEnableCpuUsage", Type: Uint, Default: "50", Range: &Range{Max: 100}},
		{Name: "dynamicCompressionBufferLimit", Type: Uint, Default: "65536"}, // bytes
		{Name: "staticCompressionIgnoreHitFrequency", Type: Bool, Default: "false"},
		{Name: "sendCacheHeaders", Type: Bool, Default: "false"},
		{Name: "expiresHeader", Default: "Wed, 01 Jan 1997 12:00:00 GMT"},
		{Name: "cacheControlHeader", Default: "max-age=86400"},
	},
	Elements: []Element{{Name: "staticTypes", Collection: compressedTypes}, {Name: "dynamicTypes", Collection: compressedTypes}},
	Collection: &Collection{Add: "scheme", Remove: "remove", Clear: "clear", Entry: Element{Attributes: []Attribute{
		{Name: "name", Key: true, Required: true, NonEmpty: true},
		{Name: "dll", Expanded: true, Required: true, NonEmpty: true},
		{Name: "doStaticCompression", Type: Bool, Default: "true"},
		{Name: "doDynamicCompression", Type: Bool, Default: "true"},
		{Name: "staticCompressionLevel", Type: Uint, Default: "7"},
		{Name: "dynamicCompressionLevel", Type: Uint, Default: "0"},
	}}},
}}

var compressedTypes = &Collection{Add: "add", Remove: "remove", Clear: "clear", Entry: Element{Attributes: []Attribute{
	{Name: "mimeType", Key: true, Required: true, NonEmpty: true},
	{Name: "enabled", Type: Bool, Default: "true", Required: true},
}}}

// caching is IIS's cache of responses.
var caching = Section{Path: "system.webServer/caching", Element: Element{Status: Known,
	Attributes: []Attribute{
		{Name: "enabled", Type: Bool, Default: "true"},
		{Name: "enableKernelCache", Type: Bool, Default: "true"},
		{Name: "maxCacheSize", Type: Uint, Default: "0"},         // MB; 0: as much as seems good
		{Name: "maxResponseSize", Type: Uint, Default: "262144"}, // bytes
	},
	Elements: []Element{{
		Name: "profiles", Collection: &Collection{Add: "add", Remove: "remove", Clear: "clear", Prepend: true, Entry: Element{Attributes: []Attribute{
			{Name: "extension", Key: true, Required: true, NonEmpty: true},
			{Name: "policy", Type: Enum, Default: "DontCache", Names: cachePolicies},
			{Name: "kernelCachePolicy", Type: Enum, Default: "DontCache", Names: cachePolicies},
			{Name: "duration", Type: TimeSpan, Default: "00:00:30", Range: &Range{Min: 1, Max: 4294967, Step: 1}},
			{Name: "location", Type: Enum, Default: "Server", Names: []Name{
				{"Any", 0}, {"Client", 1}, {"Downstream", 2}, {"Server", 3}, {"None", 4}, {"ServerAndClient", 5},
			}},
			{Name: "varyByHeaders"},
			{Name: "varyByQueryString"},
		}}},
	}},
}}

var cachePolicies = []Name{{"DontCache", 0}, {"CacheUntilChange", 1}, {"CacheForTimePeriod", 2}, {"DisableCache", 3}}

// httpLogging keeps requests out of the log.
var httpLogging = Section{Path: "system.webServer/httpLogging", Deny: true, Element: Element{Status: Known, Attributes: []Attribute{
	{Name: "dontLog", Type: Bool, Default: "false"},
	{Name: "selectiveLogging", Type: Enum, Default: "LogAll", Names: []Name{{"LogAll", 0}, {"LogSuccessful", 1}, {"LogError", 2}}},
}}}

// serverRuntime has limits of the pipeline.
var serverRuntime = Section{Path: "system.webServer/serverRuntime", Deny: true, Element: Element{Status: Known, Attributes: []Attribute{
	{Name: "enabled", Type: Bool, Default: "true"},
	{Name: "appConcurrentRequestLimit", Type: Uint, Default: "5000"},
	{Name: "maxRequestEntityAllowed", Type: Uint, Default: "4294967295", Status: Known, Restricts: true},
	{Name: "uploadReadAheadSize", Type: Uint, Default: "49152", Range: &Range{Max: 2147483647}},
	{Name: "alternateHostName"},
	{Name: "enableNagling", Type: Bool, Default: "false"},
	{Name: "frequentHitThreshold", Type: Uint, Default: "2", Range: &Range{Min: 1, Max: 2147483647}},
	{Name: "frequentHitTimePeriod", Type: TimeSpan, Default: "00:00:10"},
	{Name: "authenticatedUserOverride", Type: Enum, Default: "UseAuthenticatedUser", Names: []Name{
		{"UseAuthenticatedUser", 1}, {"UseWorkerProcessUser", 2},
	}},
}}}

// applicationInitialization sends requests to an application before clients
// do.
var applicationInitialization = Section{Path: "system.webServer/applicationInitialization", Where: ToApplication, Element: Element{Status: Known,
	Attributes: []Attribute{
		{Name: "remapManagedRequestsTo"},
		{Name: "skipManagedModules", Type: Bool, Default: "false"},
		{Name: "doAppInitAfterRestart", Type: Bool, Default: "false"},
	},
	Collection: &Collection{Add: "add", Remove: "remove", Clear: "clear", Replace: true, Entry: Element{Attributes: []Attribute{
		{Name: "initializationPage", Key: true, Required: true},
		{Name: "hostName"},
	}}},
}}
