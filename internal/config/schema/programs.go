package schema

// The sections of what runs inside IIS's own process, or as CGI: Perch has
// none of it, and knows the sections so that files which have them load.

// asp is for Active Server Pages.
var asp = Section{Path: "system.webServer/asp", Deny: true, Element: Element{Status: Known,
	Attributes: []Attribute{
		{Name: "appAllowClientDebug", Type: Bool, Default: "false"},
		{Name: "appAllowDebugging", Type: Bool, Default: "false"},
		{Name: "bufferingOn", Type: Bool, Default: "true"},
		{Name: "calcLineNumber", Type: Bool, Default: "true"},
		{Name: "codePage", Type: Uint, Default: "0", Range: &Range{Max: 2147483647}},
		{Name: "enableApplicationRestart", Type: Bool, Default: "true"},
		{Name: "enableAspHtmlFallback", Type: Bool, Default: "true"},
		{Name: "enableChunkedEncoding", Type: Bool, Default: "true"},
		{Name: "enableParentPaths", Type: Bool, Default: "false"},
		{Name: "errorsToNTLog", Type: Bool, Default: "false"},
		{Name: "exceptionCatchEnable", Type: Bool, Default: "true"},
		{Name: "lcid", Type: Uint, Default: "0", Range: &Range{Max: 2147483647}},
		{Name: "logErrorRequests", Type: Bool, Default: "true"},
		{Name: "runOnEndAnonymously", Type: Bool, Default: "true"},
		{Name: "scriptErrorMessage", NonEmpty: true, Default: "An error occurred on the server"},
		{Name: "scriptErrorSentToBrowser", Type: Bool, Default: "false"},
		{Name: "scriptLanguage", NonEmpty: true, Default: "VBScript"},
	},
	Elements: []Element{
		{Name: "session", Attributes: []Attribute{
			{Name: "allowSessionState", Type: Bool, Default: "true"},
			{Name: "keepSessionIdSecure", Type: Bool, Default: "true"},
			{Name: "max", Type: Uint, Default: "4294967295"},
			{Name: "timeout", Type: TimeSpan, Default: "00:20:00", Range: &Range{Max: 31_536_000, Step: 60}},
		}},
		{Name: "comPlus", Attributes: []Attribute{
			{Name: "appServiceFlags", Type: Flags, Default: "None", Names: []Name{{"None", 0}, {"EnableTracker", 1}, {"EnableSxS", 2}, {"UsePartition", 4}}},
			{Name: "sxsName", NonEmpty: true},
			{Name: "partitionId", Default: "00000000-0000-0000-0000-000000000000"},
			{Name: "trackThreadingModel", Type: Bool, Default: "false"},
			{Name: "executeInMta", Type: Bool, Default: "false"},
		}},
		{Name: "cache", Attributes: []Attribute{
			{Name: "diskTemplateCacheDirectory", Expanded: true, NonEmpty: true, Default: `%SystemDrive%\inetpub\temp\ASP Compiled Templates`},
			{Name: "maxDiskTemplateCacheFiles", Type: Uint, Default: "2000", Range: &Range{Max: 2147483647}},
			{Name: "scriptFileCacheSize", Type: Uint, Default: "500", Range: &Range{Max: 2147483647}},
			{Name: "scriptEngineCacheMax", Type: Uint, Default: "250", Range: &Range{Max: 2147483647}},
			{Name: "enableTypelibCache", Type: Bool, Default: "true"},
		}},
		{Name: "limits", Attributes: []Attribute{
			{Name: "scriptTimeout", Type: TimeSpan, Default: "00:01:30"},
			{Name: "bufferingLimit", Type: Uint, Default: "4194304", Range: &Range{Max: 2147483647}},
			{Name: "maxRequestEntityAllowed", Type: Uint, Default: "200000", Range: &Range{Max: 2147483647}},
			{Name: "processorThreadMax", Type: Uint, Default: "25", Range: &Range{Max: 2147483647}},
			{Name: "queueConnectionTestTime", Type: TimeSpan, Default: "00:00:03", Range: &Range{Min: 1, Max: 2147483647, Step: 1}},
			{Name: "queueTimeout", Type: TimeSpan, Default: "00:00:00"},
			{Name: "requestQueueMax", Type: Uint, Default: "3000", Range: &Range{Max: 2147483647}},
		}},
	},
}}

// cgi is for programs that are started for every request.
var cgi = Section{Path: "system.webServer/cgi", Deny: true, Element: Element{Status: Known, Attributes: []Attribute{
	{Name: "createCGIWithNewConsole", Type: Bool, Default: "false"},
	{Name: "createProcessAsUser", Type: Bool, Default: "true"},
	{Name: "timeout", Type: TimeSpan, Default: "00:15:00", Range: &Range{Min: 1, Max: 2147483647, Step: 1}},
}}}

// fastCgi is for programs that stay, such as PHP.
var fastCgi = Section{Path: "system.webServer/fastCgi", Where: ServerOnly, Deny: true, Element: Element{Status: Known,
	Collection: &Collection{Add: "application", Entry: Element{
		Attributes: []Attribute{
			{Name: "fullPath", Expanded: true, Key: true, Required: true, NonEmpty: true},
			{Name: "arguments", Expanded: true, Key: true},
			{Name: "monitorChangesTo"},
			{Name: "stderrMode", Type: Enum, Default: "ReturnStdErrIn500", Names: []Name{
				{"ReturnStdErrIn500", 0}, {"ReturnGeneric500", 1}, {"IgnoreAndReturn200", 2}, {"TerminateProcess", 3},
			}},
			{Name: "maxInstances", Type: Uint, Default: "0", Range: &Range{Max: 10000}},
			{Name: "idleTimeout", Type: Uint, Default: "300", Range: &Range{Min: 10, Max: 2_592_000}},
			{Name: "activityTimeout", Type: Uint, Default: "70", Range: &Range{Min: 10, Max: 2_592_000}},
			{Name: "requestTimeout", Type: Uint, Default: "90", Range: &Range{Min: 10, Max: 2_592_000}},
			{Name: "instanceMaxRequests", Type: Uint, Default: "200", Range: &Range{Min: 1, Max: 10_000_000}},
			{Name: "signalBeforeTerminateSeconds", Type: Uint, Default: "0", Range: &Range{Max: 60}},
			{Name: "protocol", Type: Enum, Default: "NamedPipe", Names: []Name{{"NamedPipe", 0}, {"Tcp", 1}}},
			{Name: "queueLength", Type: Uint, Default: "1000", Range: &Range{Min: 1, Max: 100_000_000}},
			{Name: "flushNamedPipe", Type: Bool, Default: "false"},
			{Name: "rapidFailsPerMinute", Type: Uint, Default: "10", Range: &Range{Max: 1000}},
		},
		Elements: []Element{{Name: "environmentVariables", Collection: &Collection{Add: "environmentVariable", Entry: Element{Attributes: []Attribute{
			{Name: "name", Key: true, Required: true},
			{Name: "value"},
		}}}}},
	}},
}}

// isapiFilters are filters in IIS's own process.
var isapiFilters = Section{Path: "system.webServer/isapiFilters", Where: ToApplication, Deny: true, Element: Element{Status: Known, Silent: true,
	Collection: &Collection{Add: "filter", Remove: "remove", Clear: "clear", Entry: Element{Attributes: []Attribute{
		{Name: "name", Key: true, CaseSensitive: true, Required: true, NonEmpty: true},
		{Name: "path", Expanded: true, Required: true, NonEmpty: true},
		{Name: "enabled", Type: Bool, Default: "true"},
		{Name: "enableCache", Type: Bool, Default: "false"},
		{Name: "preCondition", CaseSensitive: true},
	}}},
}}

// globalModules are the native modules that are loaded; Perch's are built in.
var globalModules = Section{Path: "system.webServer/globalModules", Where: ServerOnly, Deny: true, Element: Element{Status: Known, Silent: true,
	Collection: &Collection{Add: "add", Remove: "remove", Clear: "clear", Entry: Element{Attributes: []Attribute{
		{Name: "name", Key: true, CaseSensitive: true, Required: true},
		{Name: "image", Expanded: true},
		{Name: "preCondition", CaseSensitive: true},
	}}},
}}

// isapiCgiRestriction says which programs may be run as ISAPI or CGI. Perch
// runs none.
var isapiCgiRestriction = Section{Path: "system.webServer/security/isapiCgiRestriction", Where: ServerOnly, Deny: true, Element: Element{Status: Known, Silent: true,
	Attributes: []Attribute{
		{Name: "notListedIsapisAllowed", Type: Bool, Default: "false"},
		{Name: "notListedCgisAllowed", Type: Bool, Default: "false"},
	},
	Collection: &Collection{Add: "add", Remove: "remove", Clear: "clear", Entry: Element{Attributes: []Attribute{
		{Name: "path", Expanded: true, Key: true, Required: true, NonEmpty: true},
		{Name: "allowed", Type: Bool, Default: "false", Required: true},
		{Name: "groupId"},
		{Name: "description"},
	}}},
}}

// applicationDependencies groups the programs that applications need.
var applicationDependencies = Section{Path: "system.webServer/security/applicationDependencies", Deny: true, Element: Element{Status: Known, Silent: true,
	Collection: &Collection{Add: "application", Clear: "clear", Entry: Element{
		Attributes: []Attribute{{Name: "name", Key: true, Required: true, NonEmpty: true}, {Name: "groupId"}},
		Collection: &Collection{Add: "add", Clear: "clear", Entry: Element{Attributes: []Attribute{{Name: "groupId", Key: true, Required: true}}}},
	}},
}}

// serverSideInclude is for files with directives in comments.
var serverSideInclude = Section{Path: "system.webServer/serverSideInclude", Deny: true, Element: Element{Status: Known, Attributes: []Attribute{
	{Name: "ssiExecDisable", Type: Bool, Default: "false"},
}}}

// odbcLogging writes the log into a database.
var odbcLogging = Section{Path: "system.webServer/odbcLogging", Deny: true, Element: Element{Status: Known, Attributes: []Attribute{
	{Name: "dataSource", CaseSensitive: true, Default: "InternetDb"},
	{Name: "tableName", CaseSensitive: true, Default: "InternetLog"},
	{Name: "userName", Default: "InternetAdmin"},
	{Name: "password", CaseSensitive: true, Secret: true},
}}}

// The sections of failed request tracing.

// httpTracing gives single URLs to Windows' own tracing.
var httpTracing = Section{Path: "system.webServer/httpTracing", Deny: true, Element: Element{Status: Known, Elements: []Element{{
	Name: "traceUrls", Collection: &Collection{Add: "add", Remove: "remove", Clear: "clear", Entry: Element{Attributes: []Attribute{
		{Name: "value", Key: true, Required: true},
	}}},
}}}}

// traceFailedRequests says which requests are traced.
var traceFailedRequests = Section{Path: "system.webServer/tracing/traceFailedRequests", Element: Element{Status: Known,
	Collection: &Collection{Add: "add", Remove: "remove", Clear: "clear", Entry: Element{
		Attributes: []Attribute{
			{Name: "path", Key: true, Required: true},
			{Name: "customActionExe", Expanded: true},
			{Name: "customActionParams", Expanded: true},
			{Name: "customActionTriggerLimit", Type: Uint, Default: "1", Range: &Range{Max: 10000}},
		},
		Elements: []Element{
			{Name: "traceAreas", Collection: &Collection{Add: "add", Remove: "remove", Clear: "clear", Entry: Element{Attributes: []Attribute{
				{Name: "provider", Key: true, Required: true},
				{Name: "areas"},
				{Name: "verbosity", Type: Enum, Default: "Warning", Names: []Name{
					{"General", 0}, {"CriticalError", 1}, {"Error", 2}, {"Warning", 3}, {"Information", 4}, {"Verbose", 5},
				}},
			}}}},
			{Name: "failureDefinitions", Attributes: []Attribute{
				{Name: "timeTaken", Type: TimeSpan, Default: "00:00:00"},
				{Name: "statusCodes"},
				{Name: "verbosity", Type: Enum, Default: "Ignore", Names: []Name{{"Ignore", 0}, {"CriticalError", 1}, {"Error", 2}, {"Warning", 3}}},
				{Name: "traceAllAfterTimeout", Type: Bool, Default: "false"},
			}},
		},
	}},
}}

// traceProviderDefinitions names what may be traced.
var traceProviderDefinitions = Section{Path: "system.webServer/tracing/traceProviderDefinitions", Deny: true, Element: Element{Status: Known, Silent: true,
	Collection: &Collection{Add: "add", Remove: "remove", Clear: "clear", Entry: Element{
		Attributes: []Attribute{{Name: "name", Key: true, Required: true}, {Name: "guid", Required: true}},
		Elements: []Element{{Name: "areas", Collection: &Collection{Add: "add", Remove: "remove", Clear: "clear", Entry: Element{Attributes: []Attribute{
			{Name: "name", Key: true, Required: true},
			{Name: "value", Type: Uint, Required: true},
		}}}}},
	}},
}}
