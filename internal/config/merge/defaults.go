package merge

import (
	"slices"

	"github.com/perchserver/perch/internal/config/schema"
)

// withDefaults returns e with the values that its entries do not set and that
// elements such as siteDefaults have for them. around is what e stands in,
// the outermost first.
func withDefaults(e *element, around []*element) *element {
	if len(e.entries) == 0 && len(e.children) == 0 {
		return e
	}
	out := *e
	around = append(slices.Clip(around), e)
	out.children = make([]*element, len(e.children))
	for i, c := range e.children {
		out.children[i] = withDefaults(c, around)
	}
	out.entries = make([]directive, len(e.entries))
	for i, d := range e.entries {
		entry := d.entry
		for _, outer := range slices.Backward(around) {
			if defaults := outer.child(e.schema.Collection.Defaults); defaults != nil {
				entry = complete(entry, defaults)
			}
		}
		d.entry = withDefaults(entry, around)
		out.entries[i] = d
	}
	return &out
}

// complete returns e with what it does not have itself and defaults have. That
// its schema knows all of it is held by a test of the schema.
func complete(e, defaults *element) *element {
	out := *e
	out.attrs = slices.Clone(e.attrs)
	for _, a := range defaults.attrs {
		if e.attr(a.schema.Name) == nil {
			out.attrs = append(out.attrs, a)
		}
	}
	out.children = slices.Clone(e.children)
	for _, d := range defaults.children {
		i := slices.IndexFunc(e.children, func(c *element) bool { return c.schema.Name == d.schema.Name })
		switch {
		case i >= 0 && !d.schema.Whole:
			out.children[i] = complete(e.children[i], d)
		case i < 0:
			out.children = append(out.children, d)
		}
	}
	if e.schema.Collection != nil && !e.cleared {
		out.entries = completeEntries(e.schema.Collection, e.entries, defaults.entries)
	}
	return &out
}

// completeEntries returns the defaults that have no entry with their key, and
// behind them the entries.
func completeEntries(c *schema.Collection, entries, defaults []directive) []directive {
	if len(defaults) == 0 {
		return entries
	}
	own := map[string]bool{}
	for _, d := range entries {
		own[keyOf(c, d.entry)] = true
	}
	var all []directive
	for _, d := range defaults {
		if !own[keyOf(c, d.entry)] {
			all = append(all, d)
		}
	}
	return append(all, entries...)
}
