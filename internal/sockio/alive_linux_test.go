package sockio

import "testing"

// Every request on a used connection asks first.
func TestAliveAllocatesNothing(t *testing.T) {
	w := newWatcher(t)
	c, _ := adopted(t, w, nil)
	if n := testing.AllocsPerRun(100, func() {
		if !c.Alive() {
			t.Error("not alive")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
