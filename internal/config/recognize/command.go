package recognize

import "strings"

// portVariable stands for the port that the application is given, in the
// arguments and variables of an httpPlatform section.
const portVariable = "%HTTP_PLATFORM_PORT%"

// commandLine is a command that needs no shell.
type commandLine struct {
	environment []Variable
	words       []string
}

// plain takes a shell command apart: assignments, then words. It is not ok if
// the command needs a shell: anything but the variable PORT has a meaning to
// it. Running it without one, its signals reach the application itself.
func plain(command string) (c commandLine, ok bool) {
	command = strings.ReplaceAll(command, "${PORT}", portVariable)
	for _, word := range strings.Fields(command) {
		word = replacePort(word)
		rest := strings.ReplaceAll(word, portVariable, "")
		if strings.ContainsAny(rest, "'\"\\`$&|;<>()*?[]{}~#!%") {
			return c, false
		}
		name, value, assigned := strings.Cut(word, "=")
		switch {
		case len(c.words) > 0 || !assigned:
			c.words = append(c.words, word)
		case isVariable(name):
			c.environment = append(c.environment, Variable{name, value})
		default:
			return c, false
		}
	}
	if len(c.words) > 1 && c.words[0] == "exec" {
		c.words = c.words[1:]
	}
	return c, len(c.words) > 0
}

// replacePort puts the port in for $PORT, where the name ends there.
func replacePort(word string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(word, "$PORT")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		if after != "" && isVariable("_"+after[:1]) {
			b.WriteString("$PORT") // of a longer name
		} else {
			b.WriteString(portVariable)
		}
		word = after
	}
}

// isVariable reports whether s can be the name of a variable.
func isVariable(s string) bool {
	for i, c := range []byte(s) {
		letter := c == '_' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// quote joins words to the arguments of a command line, by the rules that
// Windows programs take theirs apart with: a word with blanks or quotes stands
// in quotes, a quote has a back-slash before it, and back-slashes before a
// quote are doubled.
func quote(words ...string) string {
	var b strings.Builder
	for i, word := range words {
		if i > 0 {
			b.WriteByte(' ')
		}
		if word != "" && !strings.ContainsAny(word, " \t\n\v\"") {
			b.WriteString(word)
			continue
		}
		b.WriteByte('"')
		slashes := 0
		for _, c := range []byte(word) {
			switch c {
			case '\\':
				slashes++
			case '"':
				b.WriteString(strings.Repeat(`\`, slashes+1))
				slashes = 0
			default:
				slashes = 0
			}
			b.WriteByte(c)
		}
		b.WriteString(strings.Repeat(`\`, slashes))
		b.WriteByte('"')
	}
	return b.String()
}
