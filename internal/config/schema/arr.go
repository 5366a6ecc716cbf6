package schema

import "slices"

// The sections of Application Request Routing 3 and of the Web Farm Framework
// below it.

// proxy lets rewrite rules lead to other servers.
var proxy = Section{Path: "system.webServer/proxy", Where: ServerOnly, Deny: true, Element: Element{Status: Known,
	Attributes: slices.Concat([]Attribute{{Name: "enabled", Type: Bool, Default: "false"}}, serverHeader, proxyProtocol(
		"00:02:00", "false", "true",
	)),
	Elements: []Element{proxyCache},
}}

// serverHeader is what stands on proxy, and on webFarm for a farm.
var serverHeader = []Attribute{
	{Name: "passConnectionCloseHeader", Type: Bool, Default: "false"},
	{Name: "passServerHeader", Type: Enum, Default: "Replace", Names: []Name{{"Replace", 0}, {"Remove", 1}, {"PassThrough", 2}}},
}

// proxyProtocol is how requests are sent on, with the defaults that differ
// between proxy and the protocol of a farm.
func proxyProtocol(timeout, preserveHost, reverseRewrite string) []Attribute {
	return []Attribute{
		{Name: "httpVersion", Type: Enum, Default: "PassThrough", Names: []Name{{"Http10", 0}, {"Http11", 1}, {"PassThrough", 2}}},
		{Name: "keepAlive", Type: Bool, Default: "true"},
		{Name: "timeout", Type: TimeSpan, Default: timeout, Range: &Range{Min: 1, Max: 86400, Step: 1}},
		{Name: "preserveHostHeader", Type: Bool, Default: preserveHost},
		{Name: "reverseRewriteHostInResponseHeaders", Type: Bool, Default: reverseRewrite},
		{Name: "xForwardedByHeaderName", Default: "X-Forwarded-By"},
		{Name: "xForwardedByHeader"},
		{Name: "xForwardedForHeaderName", Default: "X-Forwarded-For"},
		{Name: "includePortInXForwardedFor", Type: Bool, Default: "true"},
		{Name: "arrResponseHeader", Type: Bool, Default: "true"},
		{Name: "sslHeaderName", Default: "X-ARR-SSL"},
		{Name: "clientCertHeaderName", Default: "X-ARR-ClientCert"},
		{Name: "logGuidName", Default: "X-ARR-LOG-ID"},
		{Name: "logCacheHitName", Default: "X-ARR-CACHE-HIT"},
		{Name: "maxForwards", Type: Uint, Default: "10"},
		{Name: "minResponseBuffer", Type: Uint, Default: "256", Range: &Range{Max: 4194303}},    // KB
		{Name: "responseBufferLimit", Type: Uint, Default: "4096", Range: &Range{Max: 4194303}}, // KB
		{Name: "maxResponseHeaderSize", Type: Uint, Default: "65536"},                           // bytes
		{Name: "bufferChunkedResponses", Type: Bool, Default: "true"},
		{Name: "proxy"},
		{Name: "proxyBypass"},
		{Name: "stealthMode", Type: Bool, Default: "false"},
		{Name: "clientCertFileName"},
		{Name: "clientCertPassword", CaseSensitive: true, Secret: true},
		{Name: "clientCertHash"},
	}
}

var proxyCache = Element{Name: "cache", Attributes: []Attribute{
	{Name: "enabled", Type: Bool, Default: "true"},
	{Name: "requestConsolidationEnabled", Type: Bool, Default: "false"},
	{Name: "requestConsolidationTimeout", Type: TimeSpan, Default: "00:00:00.1"},
	{Name: "queryStringHandling", Type: Enum, Default: "Ignore", Names: []Name{{"Ignore", 0}, {"NoCaching", 1}, {"Accept", 2}}},
	{Name: "validationInterval", Type: TimeSpan, Default: "00:01:00", Range: &Range{Max: 86400, Step: 1}},
}}

// diskCache keeps proxied responses on disk.
var diskCache = Section{Path: "system.webServer/diskCache", Where: ServerOnly, Deny: true, Element: Element{Status: Known,
	Attributes: []Attribute{
		{Name: "allowedAcceptEncoding", Default: "gzip"},
		{Name: "byteRangeSegmentSize", Type: Uint, Default: "256", Range: &Range{Max: 4194303}}, // KB
		{Name: "scavengerInterval", Type: TimeSpan, Default: "00:05:00", Range: &Range{Max: 86400, Step: 1}},
		{Name: "lowWatermark", Type: Uint, Default: "80", Range: &Range{Max: 100}},  // per cent
		{Name: "highWatermark", Type: Uint, Default: "90", Range: &Range{Max: 100}}, // per cent
	},
	Elements: []Element{
		{Name: "sharedDriveLocation", Attributes: []Attribute{{Name: "path"}}},
		{Name: "driveLocationHealth", Attributes: []Attribute{
			{Name: "enabled", Type: Bool, Default: "false"},
			{Name: "diskQueueLengthLowWatermark", Type: Uint, Default: "15"},
			{Name: "diskQueueLengthHighWatermark", Type: Uint, Default: "30"},
		}},
		{Name: "compression",
			Attributes: []Attribute{
				{Name: "enabled", Type: Bool, Default: "true"},
				{Name: "level", Type: Int, Default: "4", Range: &Range{Max: 10}},
			},
			Collection: &Collection{Add: "add", Entry: Element{Attributes: []Attribute{
				{Name: "mimeType", Key: true, Required: true, NonEmpty: true},
				{Name: "enabled", Type: Bool, Default: "true", Required: true},
			}}},
		},
	},
	Collection: &Collection{Add: "driveLocation", Entry: Element{Attributes: []Attribute{
		{Name: "path", Key: true, Required: true, NonEmpty: true},
		{Name: "maxUsage", Type: Uint, Required: true}, // GB
	}}},
}}

// webFarms are groups of servers that requests are spread over. How the Web
// Farm Framework installs software on them is nobody's business here.
var webFarms = Section{Path: "webFarms", Where: ServerOnly, Deny: true, Element: Element{Status: Known,
	Attributes: []Attribute{{Name: "onDemandHealthCheck", Type: Bool, Default: "false"}},
	Elements: []Element{{Name: "applicationRequestRouting", Elements: []Element{{
		Name: "hostAffinityProviderList", Collection: &Collection{Add: "add", Entry: Element{Attributes: []Attribute{
			{Name: "name", Key: true, Required: true, NonEmpty: true},
		}}},
	}}}},
	Collection: &Collection{Add: "webFarm", Entry: Element{
		Attributes: slices.Concat([]Attribute{
			{Name: "name", Key: true, Required: true, Form: SiteName},
			{Name: "enabled", Type: Bool, Default: "true"},
			{Name: "serverAutoStart", Type: Bool, Default: "true"},
		}, serverHeader, []Attribute{
			{Name: "autoEnableAgent", Type: Bool, Default: "true", Status: Ignored},
			{Name: "adminUserName", Status: Ignored},
			{Name: "adminPassword", Secret: true, Status: Ignored},
			{Name: "minimumServers", Type: Int, Default: "0", Status: Ignored},
			{Name: "agentUrl", Status: Ignored},
			{Name: "restartServerOnConfigurationChange", Type: Bool, Default: "true", Status: Ignored},
			{Name: "restartServerIfReady", Type: Bool, Default: "true", Status: Ignored},
			{Name: "primaryServer", Status: Ignored},
			{Name: "loadBalancerProvider", Default: "Arr", Status: Ignored},
			{Name: "periodicRuntimeData", Type: TimeSpan, Default: "00:00:01", Status: Ignored},
			{Name: "enableRuntimeData", Type: Bool, Default: "true", Status: Ignored},
			{Name: "maximumStoppedServers", Type: Int, Default: "1", Status: Ignored},
			{Name: "agentRetryTime", Type: TimeSpan, Default: "00:05:00", Status: Ignored},
			{Name: "frontEndUrl", Status: Ignored},
		}),
		Elements: []Element{
			farmRouting,
			{Name: "platformProvision", Status: Ignored},
			{Name: "applicationProvision", Status: Ignored},
			{Name: "customProviderSettings", Status: Ignored},
			{Name: "runProviders", Status: Ignored},
			{Name: "autoRepair", Status: Ignored},
			{Name: "defaultProxy", Status: Ignored},
		},
		Collection: &Collection{Add: "server", Entry: Element{
			Attributes: []Attribute{
				{Name: "address", Key: true, Required: true, NonEmpty: true},
				{Name: "enabled", Type: Bool, Default: "true"},
			},
			Elements: []Element{{Name: "applicationRequestRouting", Attributes: []Attribute{
				{Name: "hostName", NonEmpty: true},
				{Name: "weight", Type: Uint, Default: "100", Range: &Range{Min: 1, Max: 4294967295}},
				{Name: "httpPort", Type: Uint, Default: "80", Range: &Range{Min: 1, Max: 65535}},
				{Name: "httpsPort", Type: Uint, Default: "443", Range: &Range{Min: 1, Max: 65535}},
				{Name: "healthCheckAlternateHostName", NonEmpty: true},
				{Name: "healthCheckAlternatePort", Type: Uint, Default: "0", Range: &Range{Max: 65535}},
			}}},
		}},
	}},
}}

// farmRouting is how a farm chooses its servers and speaks with them.
var farmRouting = Element{Name: "applicationRequestRouting", Elements: []Element{
	{Name: "protocol",
		Attributes: append(proxyProtocol("00:00:30", "true", "false"), Attribute{Name: "alternateHostName"}),
		Elements:   []Element{proxyCache},
	},
	{Name: "loadBalancing", Attributes: []Attribute{
		{Name: "algorithm", Type: Enum, Default: "WeightedRoundRobin", Names: []Name{
			{"WeightedRoundRobin", 0}, {"LeastRequests", 1}, {"LeastResponseTime", 2}, {"WeightedTotalTraffic", 3}, {"RequestHash", 4},
		}},
		{Name: "leastResponseTimePeriod", Type: TimeSpan, Default: "00:00:05", Range: &Range{Min: 1, Max: 86400, Step: 1}},
		{Name: "hashServerVariable", CaseSensitive: true},
		{Name: "queryStringNames"},
		{Name: "randomizeLBTies", Type: Bool, Default: "false"},
	}},
	{Name: "healthCheck", Attributes: []Attribute{
		{Name: "url"},
		{Name: "retries", Type: Uint, Default: "3", Range: &Range{Max: 20}},
		{Name: "interval", Type: TimeSpan, Default: "00:00:30", Range: &Range{Max: 86400, Step: 1}},
		{Name: "timeout", Type: TimeSpan, Default: "00:00:30", Range: &Range{Min: 1, Max: 86400, Step: 1}},
		{Name: "statusCodeMatch", Default: "200-399"},
		{Name: "responseMatch", CaseSensitive: true},
		{Name: "liveTrafficFailureCodes", Default: "500-"},
		{Name: "maxLiveTrafficFailures", Type: Uint, Default: "10", Range: &Range{Min: 1, Max: 4294967295}},
		{Name: "liveTrafficFailurePeriod", Type: TimeSpan, Default: "00:00:00", Range: &Range{Max: 86400, Step: 1}},
		{Name: "minServers", Type: Uint, Default: "0"},
	}},
	{Name: "affinity",
		Attributes: []Attribute{
			{Name: "useCookie", Type: Bool, Default: "false"},
			{Name: "cookieName", CaseSensitive: true, NonEmpty: true, Default: "ARRAffinity"},
			{Name: "useHostName", Type: Bool, Default: "false"},
			{Name: "hostCountersEnabled", Type: Bool, Default: "true"},
			{Name: "useServerProvider", Type: Bool, Default: "false"},
			{Name: "timeout", Type: TimeSpan, Default: "00:20:00", Range: &Range{Min: 60, Max: 2_592_000, Step: 60}},
			{Name: "useExternalCache", Type: Bool, Default: "false"},
			{Name: "ignoreSubDomain", Type: Bool, Default: "false"},
			{Name: "ignoreSubDomainClientAffinity", Type: Bool, Default: "false"},
			{Name: "ignoreSubDomainFragmentDepth", Type: Int, Default: "2", Range: &Range{Max: 32767}},
			{Name: "hostAffinityProvider", Default: "Microsoft.Web.Arr.HostNameRoundRobin"},
			{Name: "serverProviderImage", Expanded: true},
		},
		Collection: &Collection{Add: "host", Entry: Element{
			Attributes: []Attribute{
				{Name: "name", Key: true, NonEmpty: true},
				{Name: "servers", Type: Uint, Default: "1", Range: &Range{Min: 1, Max: 256}},
			},
			Collection: &Collection{Add: "equivalentHost", Entry: Element{Attributes: []Attribute{{Name: "name", Key: true, NonEmpty: true}}}},
		}},
	},
	{Name: "publicKeys", Collection: &Collection{Add: "publicKey", Entry: Element{Attributes: []Attribute{
		{Name: "bytes", Key: true, NonEmpty: true},
		{Name: "algorithmOid"},
	}}}},
}}
