package schema

// The sections that ask who the client is. Perch lets everybody in, so the
// value that means just that is obeyed, and every other one is reported.

// access asks for TLS and for certificates of clients.
var access = Section{Path: "system.webServer/security/access", Deny: true, Element: Element{
	Attributes: []Attribute{
		{Name: "sslFlags", Type: Flags, Default: "None", Names: []Name{
			{"None", 0}, {"Ssl", 8}, {"SslNegotiateCert", 32}, {"SslRequireCert", 64}, {"Ssl128", 256},
		}},
	},
}}

// anonymousAuthentication lets everybody in who does not say who he is.
var anonymousAuthentication = Section{Path: "system.webServer/security/authentication/anonymousAuthentication", Deny: true, Element: Element{
	Attributes: []Attribute{
		{Name: "enabled", Type: Bool, Default: "true", Status: Known, Restricts: true, Obeyed: "true"},
		{Name: "userName", Default: "IUSR", Status: Ignored},
		password,
		logonMethod,
	},
}}

// basicAuthentication asks for a name and a password.
var basicAuthentication = Section{Path: "system.webServer/security/authentication/basicAuthentication", Deny: true, Element: Element{
	Attributes: []Attribute{
		offIsObeyed,
		{Name: "realm", Status: Ignored},
		{Name: "defaultLogonDomain", Status: Ignored},
		logonMethod,
	},
}}

// digestAuthentication asks for a name and proof of a password.
var digestAuthentication = Section{Path: "system.webServer/security/authentication/digestAuthentication", Deny: true, Element: Element{
	Attributes: []Attribute{
		offIsObeyed,
		{Name: "realm", Status: Ignored},
	},
}}

// windowsAuthentication asks a Windows domain who the client is.
var windowsAuthentication = Section{Path: "system.webServer/security/authentication/windowsAuthentication", Deny: true, Element: Element{
	Attributes: []Attribute{
		offIsObeyed,
		{Name: "authPersistSingleRequest", Type: Bool, Default: "false", Status: Ignored},
		{Name: "authPersistNonNTLM", Type: Bool, Default: "false", Status: Ignored},
		{Name: "useKernelMode", Type: Bool, Default: "true", Status: Ignored},
		{Name: "useAppPoolCredentials", Type: Bool, Default: "false", Status: Ignored},
	},
	Elements: []Element{
		{Name: "providers", Collection: &Collection{Add: "add", Remove: "remove", Clear: "clear", Entry: Element{Attributes: []Attribute{
			{Name: "value", Key: true, Status: Ignored},
		}}}},
		{Name: "extendedProtection",
			Attributes: []Attribute{
				{Name: "tokenChecking", Type: Enum, Default: "None", Status: Ignored, Names: []Name{{"None", 0}, {"Allow", 1}, {"Require", 2}}},
				{Name: "flags", Type: Flags, Default: "None", Status: Ignored, Names: []Name{
					{"None", 0}, {"Proxy", 1}, {"NoServiceNameCheck", 2}, {"AllowDotlessSpn", 4}, {"ProxyCohosting", 32},
				}},
			},
			Collection: &Collection{Add: "spn", Remove: "removeSpn", Clear: "clearSpns", Entry: Element{Attributes: []Attribute{
				{Name: "name", Key: true, NonEmpty: true, Status: Ignored},
			}}},
		},
	},
}}

var offIsObeyed = Attribute{Name: "enabled", Type: Bool, Default: "false", Status: Known, Restricts: true, Obeyed: "false"}

var logonMethod = Attribute{Name: "logonMethod", Type: Enum, Default: "ClearText", Status: Ignored, Names: []Name{
	{"Interactive", 0}, {"Batch", 1}, {"Network", 2}, {"ClearText", 3},
}}

// clientCertificateMappingAuthentication finds the client's account in a directory by its certificate.
var clientCertificateMappingAuthentication = Section{
	Path: "system.webServer/security/authentication/clientCertificateMappingAuthentication", Deny: true,
	Element: Element{Attributes: []Attribute{offIsObeyed}},
}

// iisClientCertificateMappingAuthentication finds the client's account in a list by its certificate.
var iisClientCertificateMappingAuthentication = Section{
	Path: "system.webServer/security/authentication/iisClientCertificateMappingAuthentication", Deny: true,
	Element: Element{
		Attributes: []Attribute{
			offIsObeyed,
			{Name: "oneToOneCertificateMappingsEnabled", Type: Bool, Default: "true", Status: Ignored},
			{Name: "manyToOneCertificateMappingsEnabled", Type: Bool, Default: "true", Status: Ignored},
			{Name: "defaultLogonDomain", Status: Ignored},
			logonMethod,
		},
		Elements: []Element{
			{Name: "manyToOneMappings", Collection: &Collection{Add: "add", Clear: "clear", Entry: Element{
				Attributes: []Attribute{
					{Name: "name", Key: true, Required: true, NonEmpty: true},
					{Name: "description", Status: Ignored},
					{Name: "enabled", Type: Bool, Default: "true", Status: Ignored},
					{Name: "permissionMode", Type: Enum, Default: "Allow", Status: Ignored, Names: []Name{{"Allow", 1}, {"Deny", 2}}},
					{Name: "userName", NonEmpty: true, Status: Ignored},
					password,
				},
				Elements: []Element{{Name: "rules", Collection: &Collection{Add: "add", Clear: "clear", Entry: Element{Attributes: []Attribute{
					{Name: "certificateField", Type: Enum, Key: true, Required: true, Status: Ignored, Names: []Name{{"Subject", 1}, {"Issuer", 2}}},
					{Name: "certificateSubField", CaseSensitive: true, Key: true, Required: true, Status: Ignored},
					{Name: "matchCriteria", CaseSensitive: true, Key: true, Required: true, Status: Ignored},
					{Name: "compareCaseSensitive", Type: Bool, Default: "true", Key: true, Status: Ignored},
				}}}}},
			}}},
			{Name: "oneToOneMappings", Collection: &Collection{Add: "add", Clear: "clear", Entry: Element{Attributes: []Attribute{
				{Name: "certificate", CaseSensitive: true, Key: true, Required: true, Status: Ignored},
				{Name: "enabled", Type: Bool, Default: "true", Status: Ignored},
				{Name: "userName", Status: Ignored},
				password,
			}}}},
		},
	},
}

// authorization is IIS's list of who may ask for what. Only "everybody may"
// is obeyed.
var authorization = Section{Path: "system.webServer/security/authorization", Element: Element{
	Attributes: []Attribute{{Name: "bypassLoginPages", Type: Bool, Default: "true", Status: Ignored}},
	Collection: &Collection{Add: "add", Remove: "remove", Clear: "clear", Closed: true, Entry: Element{Attributes: []Attribute{
		{Name: "accessType", Type: Enum, Required: true, Status: Known, Restricts: true, Obeyed: "Allow", Names: []Name{{"Allow", 0}, {"Deny", 1}}},
		{Name: "users", Key: true, Status: Known, Restricts: true, Obeyed: "*"},
		{Name: "roles", Key: true, Status: Known, Restricts: true},
		{Name: "verbs", CaseSensitive: true, Key: true, Status: Known, Restricts: true},
	}}},
}}

var denyActions = []Name{{"AbortRequest", 0}, {"Unauthorized", 401}, {"Forbidden", 403}, {"NotFound", 404}}

// ipSecurity lets addresses in or keeps them out.
var ipSecurity = Section{Path: "system.webServer/security/ipSecurity", Deny: true, Element: Element{
	Attributes: []Attribute{
		{Name: "allowUnlisted", Type: Bool, Default: "true", Status: Known, Restricts: true, Obeyed: "true"},
		{Name: "enableReverseDns", Type: Bool, Default: "false", Status: Ignored},
		{Name: "enableProxyMode", Type: Bool, Default: "false", Status: Ignored},
		{Name: "denyAction", Type: Enum, Default: "Forbidden", Status: Ignored, Names: denyActions},
	},
	Collection: &Collection{Add: "add", Remove: "remove", Clear: "clear", Entry: Element{Status: Known, Restricts: true, Attributes: []Attribute{
		{Name: "ipAddress", Key: true},
		{Name: "subnetMask", Key: true, Default: "255.255.255.255"},
		{Name: "domainName", Key: true},
		{Name: "allowed", Type: Bool, Default: "false"},
	}}},
}}

// dynamicIPSecurity keeps clients out that ask too much at once.
var dynamicIPSecurity = Section{Path: "system.webServer/security/dynamicIpSecurity", Deny: true, Element: Element{
	Attributes: []Attribute{
		{Name: "denyAction", Type: Enum, Default: "Forbidden", Status: Ignored, Names: denyActions},
		{Name: "enableProxyMode", Type: Bool, Default: "false", Status: Ignored},
		{Name: "enableLoggingOnlyMode", Type: Bool, Default: "false", Status: Ignored},
	},
	Elements: []Element{
		{Name: "denyByConcurrentRequests", Attributes: []Attribute{
			offIsObeyed,
			{Name: "maxConcurrentRequests", Type: Uint, Default: "5", Range: &Range{Min: 1, Max: 4294967295}, Status: Ignored},
		}},
		{Name: "denyByRequestRate", Attributes: []Attribute{
			offIsObeyed,
			{Name: "maxRequests", Type: Uint, Default: "20", Range: &Range{Min: 1, Max: 4294967295}, Status: Ignored},
			{Name: "requestIntervalInMilliseconds", Type: Uint, Default: "200", Range: &Range{Min: 1, Max: 4294967295}, Status: Ignored},
		}},
	},
}}
