package errorpage

import (
	"bytes"

	"github.com/perchserver/perch/internal/exchange"
)

// format is one of the forms that a page is sent in.
type format int

// The formats, in the order in which equal wishes prefer them.
const (
	formatHTML format = iota
	formatJSON
	formatText
	formatCount
)

// mediaTypes are those that ask for a format. Never written.
var mediaTypes = [formatCount][]string{
	formatHTML: {"text/html", "application/xhtml+xml"},
	formatJSON: {"application/problem+json", "application/json"},
	formatText: {"text/plain"},
}

// preferred returns the format that the Accept fields of a request ask for
// (RFC 9110 section 12.5.1). Of formats with the same quality, one that is
// named wins over one that a wildcard covers. HTML is for those that accept
// none, or say nothing.
func preferred(h *exchange.Header) format {
	var wishes [formatCount]wish
	for i := range h.Fields {
		if h.Fields[i].ID != exchange.Accept {
			continue
		}
		for media := range bytes.SplitSeq(h.Fields[i].Value, []byte{','}) {
			kind, params, _ := bytes.Cut(media, []byte{';'})
			kind = bytes.TrimSpace(kind)
			quality := quality(params)
			for f := range wishes {
				if exact := specificity(kind, mediaTypes[f]); exact > 0 {
					wishes[f].add(wish{exact, quality})
				}
			}
		}
	}
	best := formatHTML
	for f := formatJSON; f < formatCount; f++ {
		if wishes[f].over(wishes[best]) {
			best = f
		}
	}
	return best
}

// wish is how much a format is wanted.
type wish struct {
	exact   int // 0 not named, 1 by */*, 2 by type/*, 3 by its name
	quality int // in thousandths
}

// add takes the more specific of two wishes for one format, or the higher of
// two that are equally so.
func (w *wish) add(o wish) {
	if o.exact > w.exact || o.exact == w.exact && o.quality > w.quality {
		*w = o
	}
}

// over reports whether w is stronger than that for another format.
func (w wish) over(o wish) bool {
	return w.quality > o.quality || w.quality == o.quality && w.quality > 0 && w.exact > o.exact
}

// specificity tells how closely a media range fits one of the types, 0 if it
// does not.
func specificity(media []byte, types []string) int {
	for _, t := range types {
		slash := bytes.IndexByte([]byte(t), '/')
		switch {
		case exchange.EqualFold(media, t):
			return 3
		case len(media) == slash+2 && media[slash+1] == '*' && exchange.EqualFold(media[:slash+1], t[:slash+1]):
			return 2
		}
	}
	if string(media) == "*/*" {
		return 1
	}
	return 0
}

// quality reads the weight among the parameters of a media range, in
// thousandths; without one, or with one that is malformed, it is 1000.
func quality(params []byte) int {
	for p := range bytes.SplitSeq(params, []byte{';'}) {
		p = bytes.TrimSpace(p)
		if len(p) < 3 || p[0]|0x20 != 'q' || p[1] != '=' {
			continue
		}
		if q, ok := thousandths(p[2:]); ok {
			return q
		}
	}
	return 1000
}

// thousandths reads a qvalue (RFC 9110 section 12.4.2): 0 or 1, and up to
// three decimal places.
func thousandths(s []byte) (q int, ok bool) {
	if len(s) > 5 || s[0] != '0' && s[0] != '1' || len(s) > 1 && s[1] != '.' {
		return 0, false
	}
	q = int(s[0]-'0') * 1000
	place := 100
	for _, c := range s[min(2, len(s)):] {
		if c < '0' || c > '9' {
			return 0, false
		}
		q += int(c-'0') * place
		place /= 10
	}
	return q, q <= 1000
}
