package http2

import (
	"fmt"
	"slices"
	"testing"

	"golang.org/x/net/http2/hpack"
	"pgregory.net/rapid"

	"github.com/perchserver/perch/internal/exchange"
)

// Whatever a connection remembers of its last responses, the client reads the
// fields of this one: through tables that fill, overflow and change their size,
// and through rest.
func TestEncoderRemembers(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var e encoder
		e.init()
		d := hpack.NewDecoder(tableSize, nil)
		for range rapid.IntRange(1, 40).Draw(t, "responses") {
			if rapid.IntRange(0, 9).Draw(t, "resize") == 0 {
				e.limit(uint32(rapid.SampledFrom([]int{0, 40, 100, 300, tableSize}).Draw(t, "size")))
			}
			if rapid.IntRange(0, 9).Draw(t, "rest") == 0 {
				e.rest()
			}
			var want []string
			e.begin()
			if rapid.Bool().Draw(t, "head") { // or a trailer
				status := rapid.SampledFrom([]int{200, 404}).Draw(t, "status")
				e.status(status)
				want = append(want, fmt.Sprintf(":status: %d", status))
				date := rapid.SampledFrom([]string{"now", "then"}).Draw(t, "date")
				e.date(date)
				want = append(want, "date: "+date)
			}
			for range rapid.IntRange(1, 6).Draw(t, "fields") {
				f := exchange.Field{ID: rapid.SampledFrom([]exchange.FieldID{exchange.Server, exchange.ETag, exchange.Other, exchange.Vary}).Draw(t, "id")}
				name := f.ID.Lower()
				if f.ID == exchange.Other {
					name = rapid.SampledFrom([]string{"x-a", "x-b"}).Draw(t, "name")
					f.Name = []byte("X" + name[1:])
				}
				f.Value = []byte(rapid.SampledFrom([]string{"", "a", "b", "a longer value"}).Draw(t, "value"))
				e.field(&f)
				want = append(want, name+": "+string(f.Value))
			}
			fields, err := d.DecodeFull(e.block)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range fields {
				got = append(got, f.Name+": "+f.Value)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("got %q, want %q", got, want)
			}
		}
	})
}
