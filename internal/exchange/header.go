package exchange

// Field is one header field. Name and Value may point into a driver's buffer.
type Field struct {
	ID    FieldID // Other for a name that has no number
	Name  []byte  // as received; nil stands for the standard spelling of ID
	Value []byte  // without surrounding white space
}

// Header is a list of fields in the order in which they came. Names with a
// number are found by it, others by comparing bytes without regard to case.
// The zero value is empty and ready to use.
type Header struct {
	Fields []Field
}

// Reset empties h and keeps its memory.
func (h *Header) Reset() {
	clear(h.Fields)
	h.Fields = h.Fields[:0]
}

// Get returns the value of the first field with this number, nil if there is
// none. A field that is present and empty has a non-nil value.
func (h *Header) Get(id FieldID) []byte {
	for i := range h.Fields {
		if h.Fields[i].ID == id {
			if h.Fields[i].Value == nil {
				return []byte{}
			}
			return h.Fields[i].Value
		}
	}
	return nil
}

// Has reports whether there is a field with this number.
func (h *Header) Has(id FieldID) bool {
	for i := range h.Fields {
		if h.Fields[i].ID == id {
			return true
		}
	}
	return false
}

// GetName is Get for a name in any case, with a number or without.
func (h *Header) GetName(name string) []byte {
	for i := range h.Fields {
		if EqualFold(h.Fields[i].NameBytes(), name) {
			if h.Fields[i].Value == nil {
				return []byte{}
			}
			return h.Fields[i].Value
		}
	}
	return nil
}

// Append appends a field. It keeps name, which may be nil as that of a Field,
// and value.
//
// The field is filled in where it stands: one that is made elsewhere is copied in
// larger pieces than it was written in, and a processor waits for that.
func (h *Header) Append(id FieldID, name, value []byte) {
	h.Fields = append(h.Fields, Field{})
	f := &h.Fields[len(h.Fields)-1]
	f.ID, f.Name, f.Value = id, name, value
}

// Add appends a field with a number. It keeps value.
func (h *Header) Add(id FieldID, value []byte) { h.Append(id, nil, value) }

// AddString appends a field with a number and a constant value.
func (h *Header) AddString(id FieldID, value string) { h.Append(id, nil, []byte(value)) }

// AddName appends a field by name. It keeps name and value.
func (h *Header) AddName(name, value []byte) { h.Append(LookupField(name), name, value) }

// Set replaces all fields with this number by one, in the place of the first.
func (h *Header) Set(id FieldID, value []byte) {
	for i := range h.Fields {
		if h.Fields[i].ID == id {
			h.Fields[i].Value = value
			h.delFrom(i+1, id)
			return
		}
	}
	h.Add(id, value)
}

// Del removes all fields with this number.
func (h *Header) Del(id FieldID) { h.delFrom(0, id) }

func (h *Header) delFrom(i int, id FieldID) {
	for i < len(h.Fields) && h.Fields[i].ID != id {
		i++
	}
	if i == len(h.Fields) {
		return
	}
	keep := h.Fields[:i]
	for _, f := range h.Fields[i:] {
		if f.ID != id {
			keep = append(keep, f)
		}
	}
	h.Fields = keep
}

// DelName removes all fields with this name, in any case.
func (h *Header) DelName(name string) {
	keep := h.Fields[:0]
	for _, f := range h.Fields {
		if !EqualFold(f.NameBytes(), name) {
			keep = append(keep, f)
		}
	}
	h.Fields = keep
}

// NameBytes returns the name to write: as received, or the standard spelling.
func (f *Field) NameBytes() []byte {
	if f.Name != nil {
		return f.Name
	}
	return fieldNameBytes(f.ID)
}

// EqualFold reports whether b and s are the same field name without regard
// to ASCII case.
func EqualFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i := range b {
		if lower(b[i]) != lower(s[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c | 0x20
	}
	return c
}
