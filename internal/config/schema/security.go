package schema

// The sections that ask who the client is. Perch lets everybody in, so the
// value that means just that is obeyed, and every other one is reported.

var access = Section{Path: "system.webServer/security/access", Element: Element{
	Attributes: []Attribute{
		{Name: "sslFlags", Type: Flags, Default: "None", Status: Known, Restricts: true, Obeyed: "None", Names: []Name{
			{"None", 0}, {"Ssl", 8}, {"SslNegotiateCert", 32}, {"SslRequireCert", 64}, {"Ssl128", 256},
		}},
	},
}}

var anonymousAuthentication = Section{Path: "system.webServer/security/authentication/anonymousAuthentication", Element: Element{
	Attributes: []Attribute{
		{Name: "enabled", Type: Bool, Default: "true", Status: Known, Restricts: true, Obeyed: "true"},
		{Name: "userName", Default: "IUSR", Status: Ignored},
		{Name: "password", CaseSensitive: true, Status: Ignored},
		logonMethod,
	},
}}

var basicAuthentication = Section{Path: "system.webServer/security/authentication/basicAuthentication", Element: Element{
	Attributes: []Attribute{
		offIsObeyed,
		{Name: "realm", Status: Ignored},
		{Name: "defaultLogonDomain", Status: Ignored},
		logonMethod,
	},
}}

var digestAuthentication = Section{Path: "system.webServer/security/authentication/digestAuthentication", Element: Element{
	Attributes: []Attribute{
		offIsObeyed,
		{Name: "realm", Status: Ignored},
	},
}}

var windowsAuthentication = Section{Path: "system.webServer/security/authentication/windowsAuthentication", Element: Element{
	Attributes: []Attribute{
		offIsObeyed,
		{Name: "authPersistSingleRequest", Type: Bool, Default: "false", Status: Ignored},
		{Name: "authPersistNonNTLM", Type: Bool, Default: "false", Status: Ignored},
		{Name: "useKernelMode", Type: Bool, Default: "true", Status: Ignored},
		{Name: "useAppPoolCredentials", Type: Bool, Default: "false", Status: Ignored},
	},
	Elements: []Element{
		{Name: "providers", Status: Ignored},
		{Name: "extendedProtection", Status: Ignored},
	},
}}

var offIsObeyed = Attribute{Name: "enabled", Type: Bool, Default: "false", Status: Known, Restricts: true, Obeyed: "false"}

var logonMethod = Attribute{Name: "logonMethod", Type: Enum, Default: "ClearText", Status: Ignored, Names: []Name{
	{"Interactive", 0}, {"Batch", 1}, {"Network", 2}, {"ClearText", 3},
}}
