package schema

// limits bound what a connection may ask of the server before anybody knows
// which URL it is about, so they hold for the server as a whole. The section
// is Perch's own: IIS keeps these values in webLimits, in the registry, or
// nowhere. Where IIS or Kestrel has a name for one, it has that name.
var limits = Section{Path: "perch/limits", Element: Element{
	Attributes: []Attribute{
		// Bytes; the line and each field with its CRLF.
		{Name: "maxRequestLineSize", Type: Uint, Default: "8192", Range: &Range{Min: 64, Max: 1 << 20}},
		{Name: "maxRequestHeadersTotalSize", Type: Uint, Default: "32768", Range: &Range{Min: 256, Max: 1 << 20}},
		{Name: "maxRequestHeaderCount", Type: Uint, Default: "100", Range: &Range{Min: 1, Max: 10_000}},

		// IIS holds its times in 16 bits, in seconds.
		{Name: "headerWaitTimeout", Type: TimeSpan, Default: "00:00:15", Range: &Range{Min: 1, Max: 65535}},
		{Name: "connectionTimeout", Type: TimeSpan, Default: "00:02:00", Range: &Range{Min: 1, Max: 65535}},
		{Name: "drainTimeout", Type: TimeSpan, Default: "00:00:05", Range: &Range{Min: 1, Max: 120}},

		{Name: "minBytesPerSecond", Type: Uint, Default: "240", Range: &Range{Min: 1, Max: 1 << 30}},
		{Name: "minBytesGracePeriod", Type: TimeSpan, Default: "00:00:05", Range: &Range{Min: 1, Max: 3600}},

		// Of one HTTP/2 connection. What was reset is remembered for as many
		// streams as are allowed at once, which bounds their number.
		{Name: "maxStreamsPerConnection", Type: Uint, Default: "100", Range: &Range{Min: 1, Max: 1000}},
		{Name: "initialStreamWindowSize", Type: Uint, Default: "786432", Range: &Range{Min: 65535, Max: 1 << 30}},
		{Name: "initialConnectionWindowSize", Type: Uint, Default: "1048576", Range: &Range{Min: 65535, Max: 1 << 30}},
		{Name: "floodAllowance", Type: Uint, Default: "1000", Range: &Range{Min: 100, Max: 1_000_000}},
		{Name: "floodAllowancePerSecond", Type: Uint, Default: "50", Range: &Range{Min: 1, Max: 100_000}},
	},
}}
