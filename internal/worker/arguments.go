package worker

import "strings"

// splitArguments splits a command line tail by the rules of Windows
// (CommandLineToArgvW): blanks separate, quotes hold together, a back-slash
// means itself unless it stands in front of a quote: 2n of them and a quote
// are n and a quoting one, 2n+1 and a quote are n and a literal one. Two
// quotes inside a quoted part are a literal one that also ends the quoting.
func splitArguments(tail string) []string {
	const blanks = " \t\r\n"
	var args []string
	for tail = strings.TrimLeft(tail, blanks); tail != ""; tail = strings.TrimLeft(tail, blanks) {
		var arg []byte
		arg, tail = nextArgument(tail)
		args = append(args, string(arg))
	}
	return args
}

// nextArgument takes the first argument off a tail that begins with one.
func nextArgument(tail string) (arg []byte, rest string) {
	quoted, slashes := false, 0
	for i := 0; i < len(tail); i++ {
		c := tail[i]
		if c == '\\' {
			slashes++
			continue
		}
		if c != '"' {
			arg = appendSlashes(arg, slashes)
			slashes = 0
			if !quoted && (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
				return arg, tail[i:]
			}
			arg = append(arg, c)
			continue
		}
		arg = appendSlashes(arg, slashes/2)
		literal := slashes%2 == 1
		slashes = 0
		if literal {
			arg = append(arg, '"')
			continue
		}
		if quoted && i+1 < len(tail) && tail[i+1] == '"' {
			arg = append(arg, '"')
			i++
		}
		quoted = !quoted
	}
	return appendSlashes(arg, slashes), ""
}

func appendSlashes(arg []byte, n int) []byte {
	for range n {
		arg = append(arg, '\\')
	}
	return arg
}
