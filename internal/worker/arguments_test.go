package worker

import (
	"slices"
	"strings"
	"testing"
)

// The cases follow Microsoft's "Parsing C command-line arguments" and the
// documentation of CommandLineToArgvW.
func TestSplitArguments(t *testing.T) {
	t.Parallel()
	tests := []struct {
		tail string
		want []string
	}{
		{``, nil},
		{"  \t ", nil},
		{`.\app.dll`, []string{`.\app.dll`}},
		{`.\app.dll --urls  http://x`, []string{`.\app.dll`, `--urls`, `http://x`}},
		{`"my app.dll" x`, []string{`my app.dll`, `x`}},
		{`"abc" d e`, []string{`abc`, `d`, `e`}},
		{`a\\b d"e f"g h`, []string{`a\\b`, `de fg`, `h`}},
		{`a\\\"b c d`, []string{`a\"b`, `c`, `d`}},
		{`a\\\\"b c" d e`, []string{`a\\b c`, `d`, `e`}},
		{`a"b"" c d`, []string{`ab"`, `c`, `d`}}, // ends the quoting, unlike C's own parser since 2008
		{`"a""b"`, []string{`a"b`}},
		{`""`, []string{``}},
		{`"" x`, []string{``, `x`}},
		{`\"`, []string{`"`}},
		{`"\\"`, []string{`\`}},
		{`"open to the end`, []string{`open to the end`}},
		{`C:\dir\ next`, []string{`C:\dir\`, `next`}},
		{"line\r\nbreak", []string{"line", "break"}},
		{`'single quotes' mean nothing`, []string{`'single`, `quotes'`, `mean`, `nothing`}},
	}
	for _, tt := range tests {
		if got := splitArguments(tt.tail); !slices.Equal(got, tt.want) {
			t.Errorf("splitArguments(%q) = %q, want %q", tt.tail, got, tt.want)
		}
	}
}

// FuzzSplitArguments checks that what is quoted by the rules comes back, and
// that no input is lost or makes the parser stumble.
func FuzzSplitArguments(f *testing.F) {
	f.Add(`a b`, `c`)
	f.Add(`"`, `\`)
	f.Add(`\\"`, ` `)
	f.Fuzz(func(t *testing.T, a, b string) {
		splitArguments(a)
		if got := splitArguments(quoteArgument(a) + " " + quoteArgument(b)); !slices.Equal(got, []string{a, b}) {
			t.Errorf("quoted %q and %q came back as %q", a, b, got)
		}
	})
}

// quoteArgument is the inverse for one argument.
func quoteArgument(arg string) string {
	var b strings.Builder
	b.WriteByte('"')
	slashes := 0
	for i := range len(arg) {
		switch c := arg[i]; c {
		case '\\':
			slashes++
			b.WriteByte(c)
		case '"':
			b.WriteString(strings.Repeat(`\`, slashes+1) + `"`)
			slashes = 0
		default:
			slashes = 0
			b.WriteByte(c)
		}
	}
	b.WriteString(strings.Repeat(`\`, slashes) + `"`)
	return b.String()
}
