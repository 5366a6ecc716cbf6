package schema

import (
	"fmt"
	"math"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/perchserver/perch/internal/config"
)

// Type is the type of an attribute's value. The forms are those of IIS.
type Type uint8

// The types.
const (
	String   Type = iota // any text
	Bool                 // true or false, in any letter case
	Int                  // decimal, 32 bits with sign
	Uint                 // decimal, 32 bits
	Int64                // decimal, 64 bits with sign
	Enum                 // one name, in any letter case
	Flags                // names with commas between them, or their sum as a number
	TimeSpan             // [d.]hh:mm:ss[.fffffff]
)

// Attribute is the description of an attribute.
type Attribute struct {
	Name      string
	Type      Type
	Default   string // as it would be written; empty for none
	Status    Status
	Restricts bool // as in Element

	// Obeyed is the one value of a Known attribute that Perch does obey, as
	// "false" for what it never does. Setting it is not reported.
	Obeyed string

	Required bool // must be set: in an entry by its file, else by any file
	NonEmpty bool // the text may not be empty
	Key      bool // identifies an entry of a collection
	Unique   bool // no two entries of a collection have the same value

	// Form is what a String has to look like.
	Form Form

	// Secret tells that the value is not to be shown to anybody.
	Secret bool

	// CaseSensitive tells that texts which differ in case are different.
	CaseSensitive bool

	// Expanded tells that %NAME% stands for the environment variable NAME.
	Expanded bool

	// Range limits numbers, and time spans in seconds. Nil is no limit but
	// the type's.
	Range *Range

	// Names are the values of an Enum or Flags. Of several names for one
	// number the first is the proper one.
	Names []Name
}

// Range is a closed range of numbers.
type Range struct {
	Min, Max int64
	Step     int64 // the value is a multiple of Step; 0 is no such rule
	Outside  bool  // the numbers of the range are those that are refused
}

// Name is the name of one value of an Enum, or one bit of Flags.
type Name struct {
	Name   string
	Number int64
}

// Value is the value of an attribute.
type Value struct {
	// Text is the text as written; of a Bool, Enum or Flags, its proper
	// spelling.
	Text string

	// Number is the value of everything but strings: 0 and 1 for a Bool,
	// nanoseconds for a TimeSpan.
	Number int64
}

// Bool returns the value of a Bool.
func (v Value) Bool() bool { return v.Number != 0 }

// Duration returns the value of a TimeSpan.
func (v Value) Duration() time.Duration { return time.Duration(v.Number) }

// DefaultValue returns the value that the attribute has when it is not set.
func (a *Attribute) DefaultValue() Value {
	if a.Default == "" && a.Type != String {
		return Value{}
	}
	v, problem := a.Parse(a.Default)
	if problem != nil { // held by a test for every attribute there is
		return Value{Text: a.Default}
	}
	return v
}

// Unobeyed reports whether Perch goes on without obeying the attribute's
// value v.
func (a *Attribute) Unobeyed(v Value) bool {
	if a.Status != Known || (a.Type == String && a.Default == "" && v.Text == "") { // empty is as good as not set
		return false
	}
	obeyed, problem := a.Parse(a.Obeyed)
	return a.Obeyed == "" || problem != nil || a.Comparable(v) != a.Comparable(obeyed)
}

// Comparable returns v in the form in which two values of the attribute are
// compared: equal values have equal texts.
func (a *Attribute) Comparable(v Value) string {
	switch {
	case a.Type != String:
		return strconv.FormatInt(v.Number, 10)
	case a.CaseSensitive:
		return v.Text
	}
	return strings.ToLower(v.Text)
}

// Parse reads a value. If the text is none, it returns a problem with code,
// message and what was expected, and without a place.
func (a *Attribute) Parse(text string) (Value, *config.Problem) {
	if text == "" && a.NonEmpty {
		return Value{}, &config.Problem{Code: config.EmptyValue, Message: a.Name + " is empty", Expected: "a value"}
	}
	switch a.Type {
	case Bool:
		return a.parseBool(text)
	case Int:
		return a.parseNumber(text, math.MinInt32, math.MaxInt32)
	case Uint:
		return a.parseNumber(text, 0, math.MaxUint32)
	case Int64:
		return a.parseNumber(text, math.MinInt64, math.MaxInt64)
	case Enum:
		return a.parseEnum(text)
	case Flags:
		return a.parseFlags(text)
	case TimeSpan:
		return a.parseTimeSpan(text)
	}
	if expected := a.Form.expected(text); expected != "" {
		v, problem := a.wrong(text, expected)
		if a.Form == VirtualPath && text != "" {
			problem.Hint = "did you mean " + path.Clean("/"+strings.ReplaceAll(text, `\`, "/")) + "?"
		}
		return v, problem
	}
	return Value{Text: text}, nil
}

// Form is a rule for the text of a String. The rules are those of IIS's
// validators.
type Form uint8

// The forms.
const (
	AnyText     Form = iota
	Trimmed          // without white space at its ends
	SiteName         // without / and ?
	PoolName         // without any of | < > & " / [ ] + = ; : , ? * @
	VirtualPath      // of an application or virtual directory: "/", "/shop"
	FieldName        // of a header field (RFC 9110 section 5.1)
	FieldValue       // without control characters, the tab aside (section 5.5)
)

// expected returns what is expected instead of text, or "".
func (f Form) expected(text string) string {
	switch f {
	case Trimmed:
		if strings.TrimSpace(text) != text {
			return "no white space at the ends"
		}
	case SiteName:
		if strings.ContainsAny(text, "/?") {
			return "a name without / and ?"
		}
	case PoolName:
		if strings.ContainsAny(text, `|<>&"/[]+=;:,?*@`) {
			return `a name without any of | < > & " / [ ] + = ; : , ? * @`
		}
	case VirtualPath:
		// What is not so is no path that a request has: see http1.ParseTarget.
		if !strings.HasPrefix(text, "/") || path.Clean(text) != text || strings.Contains(text, `\`) {
			return `/ alone, or a path such as "/shop" that begins with / and does not end with it, without empty segments, dot segments and back-slashes`
		}
	case FieldName:
		if text == "" || strings.ContainsFunc(text, func(r rune) bool {
			return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
		}) {
			return "the name of a header field: letters, digits and hyphens"
		}
	case FieldValue:
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return "a value without line ends and other control characters"
		}
	}
	return ""
}

// wrong says that text is not of the attribute's type.
func (a *Attribute) wrong(text, expected string) (Value, *config.Problem) {
	return Value{}, &config.Problem{
		Code: config.WrongType, Message: fmt.Sprintf("%s cannot be %q", a.Name, text), Expected: expected,
	}
}

func (a *Attribute) parseBool(text string) (Value, *config.Problem) {
	switch {
	case strings.EqualFold(text, "true"):
		return Value{"true", 1}, nil
	case strings.EqualFold(text, "false"):
		return Value{"false", 0}, nil
	}
	return a.wrong(text, "true or false")
}

func (a *Attribute) parseNumber(text string, least, most int64) (Value, *config.Problem) {
	limits := Range{Min: least, Max: most}
	if a.Range != nil && !a.Range.Outside {
		limits = *a.Range
	}
	expected := fmt.Sprintf("a number from %d to %d", limits.Min, limits.Max)
	if a.Range != nil && a.Range.Outside {
		expected = fmt.Sprintf("%s, but not from %d to %d", expected, a.Range.Min, a.Range.Max)
	}
	digits := strings.TrimPrefix(text, "-")
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return a.wrong(text, expected)
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < limits.Min || n > limits.Max || (a.Range != nil && a.Range.Outside && n >= a.Range.Min && n <= a.Range.Max) {
		return Value{}, &config.Problem{
			Code: config.OutOfRange, Message: fmt.Sprintf("%s cannot be %s", a.Name, text), Expected: expected,
		}
	}
	return Value{text, n}, nil
}

func (a *Attribute) parseEnum(text string) (Value, *config.Problem) {
	for _, name := range a.Names {
		if strings.EqualFold(name.Name, text) {
			return Value{a.properName(name.Number), name.Number}, nil
		}
	}
	v, problem := a.wrong(text, strings.Join(a.names(), ", "))
	problem.Hint = didYouMean(text, a.names())
	return v, problem
}

// parseFlags reads names with commas and white space between them, or a
// number that is a sum of the flags' numbers.
func (a *Attribute) parseFlags(text string) (Value, *config.Problem) {
	var all, sum int64
	for _, name := range a.Names {
		all |= name.Number
	}
	if n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 32); err == nil && int64(n)&^all == 0 {
		return a.flags(int64(n)), nil
	}
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		number, ok := a.number(part)
		if !ok {
			v, problem := a.wrong(text, "any of "+strings.Join(a.names(), ", "))
			problem.Hint = didYouMean(part, a.names())
			return v, problem
		}
		sum |= number
	}
	return a.flags(sum), nil
}

// flags returns a sum of flags with its proper spelling.
func (a *Attribute) flags(sum int64) Value {
	var parts []string
	for _, name := range a.Names {
		if name.Number != 0 && sum&name.Number == name.Number {
			parts = append(parts, name.Name)
		}
	}
	if len(parts) == 0 {
		return Value{a.properName(0), sum}
	}
	return Value{strings.Join(parts, ", "), sum}
}

func (a *Attribute) number(name string) (int64, bool) {
	for _, n := range a.Names {
		if strings.EqualFold(n.Name, name) {
			return n.Number, true
		}
	}
	return 0, false
}

func (a *Attribute) properName(number int64) string {
	for _, name := range a.Names {
		if name.Number == number {
			return name.Name
		}
	}
	return ""
}

// names returns the names that a problem tells, without the empty one.
func (a *Attribute) names() []string {
	var names []string
	for _, n := range a.Names {
		if n.Name != "" {
			names = append(names, n.Name)
		}
	}
	return names
}

func didYouMean(word string, names []string) string {
	if near := config.Nearest(word, names); near != "" {
		return "did you mean " + near + "?"
	}
	return ""
}

// timeSpanForm is what is expected of a TimeSpan.
const timeSpanForm = "a time span [days.]hours:minutes:seconds with minutes and seconds from 00 to 59, such as 00:02:00"

// parseTimeSpan reads [d.]hh:mm:ss[.fffffff]. Hours may exceed 23 where no
// days are given, as in the 29:00:00 of an application pool; minutes and
// seconds never exceed 59.
func (a *Attribute) parseTimeSpan(text string) (Value, *config.Problem) {
	span, ok := timeSpan(text)
	if !ok {
		return a.wrong(text, timeSpanForm)
	}
	if r := a.Range; r != nil {
		least, most := time.Duration(r.Min)*time.Second, time.Duration(r.Max)*time.Second
		step := time.Duration(max(r.Step, 0)) * time.Second
		if span < least || span > most || (step > 0 && span%step != 0) {
			expected := "from " + formatTimeSpan(least) + " to " + formatTimeSpan(most)
			if step > 0 {
				expected += ", in steps of " + formatTimeSpan(step)
			}
			return Value{}, &config.Problem{
				Code: config.OutOfRange, Message: fmt.Sprintf("%s cannot be %s", a.Name, text), Expected: expected,
			}
		}
	}
	return Value{text, int64(span)}, nil
}

// timeSpan reads a time span of up to 100,000 days.
func timeSpan(text string) (time.Duration, bool) {
	parts := strings.Split(text, ":")
	if len(parts) != 3 {
		return 0, false
	}
	days, hours, hasDays := strings.Cut(parts[0], ".")
	if !hasDays {
		days, hours = "0", parts[0]
	}
	seconds, fraction, hasFraction := strings.Cut(parts[2], ".")
	if !hasFraction {
		fraction = "0"
	}
	maxHours := int64(math.MaxInt32)
	if hasDays {
		maxHours = 23
	}
	d, ok1 := digits(days, 5, math.MaxInt32)
	h, ok2 := digits(hours, 6, maxHours)
	m, ok3 := digits(parts[1], 2, 59)
	s, ok4 := digits(seconds, 2, 59)
	f, ok5 := digits(fraction, 7, math.MaxInt32)
	for i := len(fraction); i < 9; i++ {
		f *= 10
	}
	span := time.Duration(d*24+h)*time.Hour + time.Duration(m)*time.Minute + time.Duration(s)*time.Second + time.Duration(f)
	return span, ok1 && ok2 && ok3 && ok4 && ok5
}

// digits reads a number of at most width decimal digits that is at most most.
func digits(s string, width int, most int64) (int64, bool) {
	if s == "" || len(s) > width || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n <= most
}

// formatTimeSpan writes whole seconds as hours:minutes:seconds, with days in
// front where there are many hours.
func formatTimeSpan(d time.Duration) string {
	days := ""
	if d >= 100*time.Hour {
		days = strconv.Itoa(int(d/(24*time.Hour))) + "."
		d %= 24 * time.Hour
	}
	return fmt.Sprintf("%s%02d:%02d:%02d", days, int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60)
}
