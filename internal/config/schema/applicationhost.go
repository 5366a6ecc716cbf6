package schema

// The sections of system.applicationHost. They stand in applicationHost.config
// alone and speak of the server as a whole: sites, pools, limits, logs. What
// an element such as siteDefaults sets holds for every entry that does not
// set it itself; see Collection.Defaults.

// sites is every site with its bindings, applications and virtual
// directories. The *Defaults elements exist on several levels; the nearest
// one that sets a value counts.
var sites = Section{Path: "system.applicationHost/sites", Where: ServerOnly, Deny: true, Element: Element{
	Elements: []Element{
		defaultsOf("siteDefaults", siteAttributes, siteElements),
		// IIS knows fewer application defaults here than inside a site.
		defaultsOf("applicationDefaults", applicationAttributes[:3], nil),
		virtualDirectoryDefaults,
	},
	Collection: &Collection{Add: "site", Defaults: "siteDefaults", Entry: Element{
		Attributes: siteAttributes,
		Elements: append([]Element{
			defaultsOf("applicationDefaults", applicationAttributes, nil),
			virtualDirectoryDefaults,
		}, siteElements...),
		Collection: &Collection{Add: "application", Defaults: "applicationDefaults", Entry: application},
	}},
}}

var siteAttributes = []Attribute{
	{Name: "name", Key: true, Required: true, NonEmpty: true, Form: SiteName},
	{Name: "id", Type: Uint, Unique: true, Required: true}, // of log folders: W3SVC<id>
	{Name: "serverAutoStart", Type: Bool, Default: "true"}, // false: the site stays stopped
}

var siteElements = []Element{
	{Name: "bindings", Whole: true, Collection: &Collection{Add: "binding", Clear: "clear", Entry: Element{
		Attributes: []Attribute{
			{Name: "protocol", Key: true, Required: true, NonEmpty: true},
			{Name: "bindingInformation", Key: true, Required: true, NonEmpty: true}, // http, https: ip:port:host
			{Name: "sslFlags", Type: Uint, Default: "0"},                            // SNI 1, central store 2, no HTTP/2 4, no TLS 1.3 32

			// Perch's own: IIS keeps the certificate of a binding outside of the
			// file. A PEM or PFX file, or a folder with one for each host.
			{Name: "certificateFile", Expanded: true},
			{Name: "certificateKeyFile", Expanded: true},
			{Name: "certificatePassword", Expanded: true}, // of PFX files; %NAME% takes it from the environment
			{Name: "certificatePasswordFile", Expanded: true},
			{Name: "clientCertificateAuthorities", Expanded: true}, // PEM file; empty: whom the system trusts
		},
	}}},
	{Name: "limits", Attributes: []Attribute{
		{Name: "maxBandwidth", Type: Uint, Default: "4294967295", Range: &Range{Min: 1024, Max: 4294967295}}, // bytes a second
		{Name: "maxConnections", Type: Uint, Default: "4294967295"},
		{Name: "connectionTimeout", Type: TimeSpan, Default: "00:02:00", Range: &Range{Max: 65535, Step: 1}},
		{Name: "maxUrlSegments", Type: Uint, Default: "32", Range: &Range{Max: 16383}}, // of a path; 0: no limit
	}},
	{Name: "logFile", Status: Known, Attributes: append([]Attribute{
		{Name: "enabled", Type: Bool, Default: "true"},
		{Name: "logFormat", Type: Enum, Default: "W3C", Names: []Name{{"IIS", 0}, {"NCSA", 1}, {"W3C", 2}, {"Custom", 3}}},
		{Name: "customLogPluginClsid"},
		{Name: "logTargetW3C", Type: Flags, Default: "File", Names: []Name{{"File", 1}, {"ETW", 2}}},
		logFields("Date, Time, ClientIP, UserName, ServerIP, Method, UriStem, UriQuery, HttpStatus, Win32Status, TimeTaken, ServerPort, UserAgent, Referer, HttpSubStatus"),
		{Name: "logSiteId", Type: Bool, Default: "true"},
		{Name: "flushByEntryCountW3CLog", Type: Uint, Default: "0"},
		{Name: "maxLogLineLength", Type: Uint, Default: "65536", Range: &Range{Min: 2, Max: 65536}},
	}, logRotation...), Elements: []Element{{
		Name: "customFields", Attributes: []Attribute{{Name: "maxCustomFieldLength", Type: Uint, Default: "4096"}},
		Collection: &Collection{Add: "add", Clear: "clear", Entry: Element{Attributes: []Attribute{
			{Name: "logFieldName", Key: true, Required: true, NonEmpty: true},
			{Name: "sourceName", Required: true, NonEmpty: true},
			{Name: "sourceType", Type: Enum, Required: true, Names: []Name{{"RequestHeader", 0}, {"ResponseHeader", 1}, {"ServerVariable", 2}}},
		}}},
	}}},
	{Name: "traceFailedRequestsLogging", Attributes: []Attribute{
		{Name: "enabled", Type: Bool, Default: "false", Status: Known, Obeyed: "false"},
		{Name: "directory", Expanded: true, Default: `%SystemDrive%\inetpub\logs\FailedReqLogFiles`, Status: Ignored},
		{Name: "maxLogFiles", Type: Uint, Default: "50", Range: &Range{Min: 1, Max: 10000}, Status: Ignored},
		{Name: "maxLogFileSizeKB", Type: Uint, Default: "1024", Range: &Range{Max: 1048576}, Status: Ignored},
		{Name: "customActionsEnabled", Type: Bool, Default: "false", Status: Ignored},
	}},
	{Name: "hsts", Whole: true, Attributes: []Attribute{
		{Name: "enabled", Type: Bool, Default: "false"},
		{Name: "max-age", Type: Uint, Default: "0"}, // seconds
		{Name: "includeSubDomains", Type: Bool, Default: "false"},
		{Name: "preload", Type: Bool, Default: "false"},
		{Name: "redirectHttpToHttps", Type: Bool, Default: "false"}, // while enabled
	}},
}

var application = Element{
	Attributes: applicationAttributes,
	Elements:   []Element{virtualDirectoryDefaults},
	Collection: &Collection{Add: "virtualDirectory", Defaults: "virtualDirectoryDefaults", Entry: Element{Attributes: virtualDirectoryAttributes}},
}

var applicationAttributes = []Attribute{
	{Name: "path", Key: true, Required: true, Form: VirtualPath}, // from the site's root
	{Name: "applicationPool", Form: PoolName},                    // empty: none is named
	{Name: "enabledProtocols", Default: "http"},                  // http covers https
	{Name: "serviceAutoStartEnabled", Type: Bool, Default: "false", Status: Ignored},
	{Name: "serviceAutoStartProvider", Status: Ignored},
	{Name: "preloadEnabled", Type: Bool, Default: "false", Status: Known, Obeyed: "false"},
}

var virtualDirectoryAttributes = []Attribute{
	{Name: "path", Key: true, Required: true, Form: VirtualPath}, // from its application
	{Name: "physicalPath", Expanded: true},
	{Name: "userName", Status: Known}, // empty: the identity of the caller or of the pool
	password,
	logonMethod,
	{Name: "allowSubDirConfig", Type: Bool, Default: "true"}, // false: no web.config is read below its root
}

var virtualDirectoryDefaults = defaultsOf("virtualDirectoryDefaults", virtualDirectoryAttributes, nil)

// password may be encrypted for the machine that wrote it, which nobody else
// can read.
var password = Attribute{Name: "password", CaseSensitive: true, Secret: true, Status: Ignored}

// applicationPools is the pools that applications name.
var applicationPools = Section{Path: "system.applicationHost/applicationPools", Where: ServerOnly, Deny: true, Element: Element{
	Elements:   []Element{defaultsOf("applicationPoolDefaults", poolAttributes, poolElements)},
	Collection: &Collection{Add: "add", Defaults: "applicationPoolDefaults", Entry: Element{Attributes: poolAttributes, Elements: poolElements}},
}}

var poolAttributes = []Attribute{
	{Name: "name", Key: true, Required: true, NonEmpty: true, Form: PoolName},
	{Name: "queueLength", Type: Uint, Default: "1000", Range: &Range{Min: 10, Max: 65535}, Status: Known},
	{Name: "autoStart", Type: Bool, Default: "true"}, // false: the pool is stopped
	{Name: "startMode", Type: Enum, Default: "OnDemand", Status: Known, Obeyed: "OnDemand", Names: []Name{{"OnDemand", 0}, {"AlwaysRunning", 1}}},
	{Name: "enable32BitAppOnWin64", Type: Bool, Default: "false", Status: Ignored},
	{Name: "managedRuntimeVersion", Status: Ignored},
	{Name: "managedRuntimeLoader", Default: "webengine4.dll", Status: Ignored},
	{Name: "managedPipelineMode", Type: Enum, Default: "Integrated", Status: Ignored, Names: []Name{{"Integrated", 0}, {"Classic", 1}}},
	{Name: "CLRConfigFile", Expanded: true, Status: Ignored},
	{Name: "passAnonymousToken", Type: Bool, Default: "true", Status: Ignored},
	{Name: "enableConfigurationOverride", Type: Bool, Default: "true"}, // false: no web.config is read
}

var poolElements = []Element{
	{Name: "processModel", Status: Known, Attributes: []Attribute{
		{Name: "identityType", Type: Enum, Default: "ApplicationPoolIdentity", Names: []Name{
			{"LocalSystem", 0}, {"LocalService", 1}, {"NetworkService", 2}, {"SpecificUser", 3}, {"ApplicationPoolIdentity", 4},
		}},
		{Name: "userName"},
		password,
		{Name: "loadUserProfile", Type: Bool, Default: "false"},
		{Name: "setProfileEnvironment", Type: Bool, Default: "true"},
		{Name: "logonType", Type: Enum, Default: "LogonBatch", Names: []Name{{"LogonBatch", 0}, {"LogonService", 1}}},
		{Name: "manualGroupMembership", Type: Bool, Default: "false"},
		{Name: "idleTimeout", Type: TimeSpan, Default: "00:20:00", Range: &Range{Max: 2_592_000, Step: 60}},
		{Name: "idleTimeoutAction", Type: Enum, Default: "Terminate", Names: []Name{{"Terminate", 0}, {"Suspend", 1}}},
		{Name: "maxProcesses", Type: Uint, Default: "1", Range: &Range{Max: 2147483647}},
		{Name: "shutdownTimeLimit", Type: TimeSpan, Default: "00:01:30", Range: &Range{Min: 1, Max: 4294967, Step: 1}},
		{Name: "startupTimeLimit", Type: TimeSpan, Default: "00:01:30", Range: &Range{Min: 1, Max: 4294967, Step: 1}},
		{Name: "pingingEnabled", Type: Bool, Default: "true"},
		{Name: "pingInterval", Type: TimeSpan, Default: "00:00:30", Range: &Range{Min: 1, Max: 4294967, Step: 1}},
		{Name: "pingResponseTime", Type: TimeSpan, Default: "00:01:30", Range: &Range{Min: 1, Max: 4294967, Step: 1}},
		{Name: "logEventOnProcessModel", Type: Flags, Default: "IdleTimeout", Names: []Name{{"None", 0}, {"IdleTimeout", 1}}},
		{Name: "requestQueueDelegatorIdentity"},
	}},
	{Name: "recycling", Status: Known, Attributes: []Attribute{
		{Name: "disallowOverlappingRotation", Type: Bool, Default: "false"},
		{Name: "disallowRotationOnConfigChange", Type: Bool, Default: "false"},
		{Name: "logEventOnRecycle", Type: Flags, Default: "Time, Requests, Schedule, Memory, IsapiUnhealthy, OnDemand, ConfigChange, PrivateMemory", Names: []Name{
			{"None", 0}, {"Time", 1}, {"Requests", 2}, {"Schedule", 4}, {"Memory", 8}, {"IsapiUnhealthy", 16},
			{"OnDemand", 32}, {"ConfigChange", 64}, {"PrivateMemory", 128},
		}},
	}, Elements: []Element{{Name: "periodicRestart", Attributes: []Attribute{
		{Name: "memory", Type: Uint, Default: "0"}, // KB
		{Name: "privateMemory", Type: Uint, Default: "0"},
		{Name: "requests", Type: Uint, Default: "0"},
		{Name: "time", Type: TimeSpan, Default: "29:00:00", Range: &Range{Max: 25_920_000, Step: 60}},
	}, Elements: []Element{{Name: "schedule", Collection: &Collection{Add: "add", Clear: "clear", Entry: Element{
		Attributes: []Attribute{{Name: "value", Type: TimeSpan, Default: "00:00:00", Key: true, Required: true, Range: &Range{Max: 86399, Step: 60}}},
	}}}}}}},
	{Name: "failure", Status: Known, Attributes: []Attribute{
		{Name: "loadBalancerCapabilities", Type: Enum, Default: "HttpLevel", Names: []Name{{"TcpLevel", 1}, {"HttpLevel", 2}}},
		{Name: "orphanWorkerProcess", Type: Bool, Default: "false"},
		{Name: "orphanActionExe", Expanded: true},
		{Name: "orphanActionParams", Expanded: true},
		{Name: "rapidFailProtection", Type: Bool, Default: "true"},
		{Name: "rapidFailProtectionInterval", Type: TimeSpan, Default: "00:05:00", Range: &Range{Min: 60, Max: 8_640_000, Step: 60}},
		{Name: "rapidFailProtectionMaxCrashes", Type: Uint, Default: "5", Range: &Range{Min: 1, Max: 2147483647}},
		{Name: "autoShutdownExe", Expanded: true},
		{Name: "autoShutdownParams", Expanded: true},
	}},
	{Name: "cpu", Status: Known, Attributes: []Attribute{
		{Name: "limit", Type: Uint, Default: "0", Range: &Range{Max: 100000}}, // thousandths of a per cent
		{Name: "action", Type: Enum, Default: "NoAction", Names: []Name{{"NoAction", 0}, {"KillW3wp", 1}, {"Throttle", 2}, {"ThrottleUnderLoad", 3}}},
		{Name: "resetInterval", Type: TimeSpan, Default: "00:05:00", Range: &Range{Max: 86400, Step: 60}},
		{Name: "smpAffinitized", Type: Bool, Default: "false"},
		{Name: "smpProcessorAffinityMask", Type: Uint, Default: "4294967295"},
		{Name: "smpProcessorAffinityMask2", Type: Uint, Default: "4294967295"},
		{Name: "processorGroup", Type: Int, Default: "0", Range: &Range{Max: 2147483647}},
		{Name: "numaNodeAssignment", Type: Enum, Default: "MostAvailableMemory", Names: []Name{{"MostAvailableMemory", 0}, {"WindowsScheduling", 1}}},
		{Name: "numaNodeAffinityMode", Type: Enum, Default: "Soft", Names: []Name{{"Soft", 0}, {"Hard", 1}}},
	}},
	{Name: "environmentVariables", Collection: &Collection{Add: "add", Remove: "remove", Entry: Element{Attributes: []Attribute{
		{Name: "name", Key: true, Required: true, NonEmpty: true},
		{Name: "value", CaseSensitive: true, Required: true},
	}}}},
}

// webLimits are limits of the server as a whole.
var webLimits = Section{Path: "system.applicationHost/webLimits", Where: ServerOnly, Deny: true, Element: Element{Attributes: []Attribute{
	{Name: "connectionTimeout", Type: TimeSpan, Default: "00:02:00", Range: &Range{Max: 65535, Step: 1}},
	{Name: "headerWaitTimeout", Type: TimeSpan, Default: "00:00:00", Range: &Range{Max: 65535, Step: 1}}, // 0: 120 seconds
	{Name: "minBytesPerSecond", Type: Uint, Default: "240"},                                              // sent; 0: no minimum
	{Name: "maxGlobalBandwidth", Type: Uint, Default: "4294967295", Range: &Range{Min: 1024, Max: 4294967295}, Status: Known, Obeyed: "4294967295"},
	{Name: "demandStartThreshold", Type: Uint, Default: "2147483647", Range: &Range{Min: 10, Max: 2147483647}, Status: Known},
	{Name: "dynamicIdleThreshold", Type: Uint, Default: "0", Range: &Range{Max: 10000}, Status: Known, Obeyed: "0"}, // per cent of memory
	{Name: "dynamicRegistrationThreshold", Type: Uint, Default: "100", Range: &Range{Min: 10, Max: 4294967295}, Status: Ignored},
}}}

// log tells whether sites have log files of their own or one together.
var log = Section{Path: "system.applicationHost/log", Where: ServerOnly, Deny: true, Element: Element{Status: Known,
	Attributes: []Attribute{
		{Name: "logInUTF8", Type: Bool, Default: "true"},
		{Name: "centralLogFileMode", Type: Enum, Default: "Site", Names: []Name{{"Site", 0}, {"CentralBinary", 1}, {"CentralW3C", 2}}},
	},
	Elements: []Element{
		{Name: "centralBinaryLogFile", Silent: true, Attributes: append([]Attribute{
			{Name: "enabled", Type: Bool, Default: "false"},
		}, logRotation...)},
		{Name: "centralW3CLogFile", Silent: true, Attributes: append([]Attribute{
			{Name: "enabled", Type: Bool, Default: "true"},
			logFields("Date, Time, ClientIP, UserName, SiteName, ServerIP, Method, UriStem, UriQuery, HttpStatus, Win32Status, TimeTaken, ServerPort, UserAgent, Referer, HttpSubStatus"),
		}, logRotation...)},
	},
}}

// configHistory keeps old versions of applicationHost.config.
var configHistory = Section{Path: "system.applicationHost/configHistory", Where: ServerOnly, Deny: true, Element: Element{Status: Known, Attributes: []Attribute{
	{Name: "enabled", Type: Bool, Default: "true"},
	{Name: "path", Default: `%SYSTEMDRIVE%\inetpub\history`},
	{Name: "maxHistories", Type: Uint, Default: "10", Range: &Range{Min: 1, Max: 4294967295}},
	{Name: "period", Type: TimeSpan, Default: "00:02:00", Range: &Range{Min: 10, Max: 2147483647, Step: 1}},
}}}

// configurationRedirection stands in a redirection.config beside
// applicationHost.config, and has IIS read that file from elsewhere.
var configurationRedirection = Section{Path: "configurationRedirection", Where: ServerOnly, Deny: true, Element: Element{Attributes: []Attribute{
	{Name: "enabled", Type: Bool, Default: "false", Status: Known, Obeyed: "false"},
	{Name: "path", Expanded: true, Status: Ignored},
	{Name: "userName", Status: Ignored},
	password,
	{Name: "enableUncPolling", Type: Bool, Default: "false", Status: Ignored},
	{Name: "pollingPeriod", Type: TimeSpan, Default: "00:03:00", Status: Ignored},
}}}

// listenerAdapters listen for other protocols than HTTP.
var listenerAdapters = Section{Path: "system.applicationHost/listenerAdapters", Where: ServerOnly, Deny: true, Element: Element{Status: Known, Silent: true,
	Collection: &Collection{Add: "add", Entry: Element{Attributes: []Attribute{
		{Name: "name", Key: true, Required: true},
		{Name: "identity"},
		{Name: "protocolManagerDll"},
		{Name: "protocolManagerDllInitFunction", CaseSensitive: true},
	}}},
}}

// serviceAutoStartProviders are .NET classes that start an application.
var serviceAutoStartProviders = Section{Path: "system.applicationHost/serviceAutoStartProviders", Where: ServerOnly, Deny: true, Element: Element{Status: Known,
	Collection: &Collection{Add: "add", Remove: "remove", Clear: "clear", Entry: Element{Attributes: []Attribute{
		{Name: "name", Key: true, CaseSensitive: true, NonEmpty: true, Required: true},
		{Name: "type", CaseSensitive: true},
	}}},
}}

// logRotation is what every kind of log file has.
var logRotation = []Attribute{
	{Name: "directory", Expanded: true, NonEmpty: true, Default: `%SystemDrive%\inetpub\logs\LogFiles`},
	{Name: "period", Type: Enum, Default: "Daily", Names: []Name{{"MaxSize", 0}, {"Daily", 1}, {"Weekly", 2}, {"Monthly", 3}, {"Hourly", 4}}},
	{Name: "truncateSize", Type: Int64, Default: "20971520", Range: &Range{Min: 1048576, Max: 4294967295}}, // bytes
	{Name: "localTimeRollover", Type: Bool, Default: "false"},
}

// logFields is the attribute that chooses the fields of a W3C log.
func logFields(byDefault string) Attribute {
	return Attribute{Name: "logExtFileFlags", Type: Flags, Default: byDefault, Names: []Name{
		{"None", 0}, {"Date", 1}, {"Time", 2}, {"ClientIP", 4}, {"UserName", 8}, {"SiteName", 16}, {"ComputerName", 32}, {"ServerIP", 64},
		{"Method", 128}, {"UriStem", 256}, {"UriQuery", 512}, {"HttpStatus", 1024}, {"Win32Status", 2048}, {"BytesSent", 4096},
		{"BytesRecv", 8192}, {"TimeTaken", 16384}, {"ServerPort", 32768}, {"UserAgent", 65536}, {"Cookie", 131072}, {"Referer", 262144},
		{"ProtocolVersion", 524288}, {"Host", 1048576}, {"HttpSubStatus", 2097152},
	}}
}

// defaultsOf describes the element with default values for the entries of a
// collection: it has what they have, and must set none of it.
func defaultsOf(name string, attributes []Attribute, elements []Element) Element {
	free := make([]Attribute, len(attributes))
	for i, a := range attributes {
		a.Key, a.Unique, a.Required = false, false, false
		free[i] = a
	}
	return Element{Name: name, Attributes: free, Elements: elements}
}
