package static

import "testing"

func TestShippedTypes(t *testing.T) {
	t.Parallel()
	if n := len(shippedTypes); n != 378 {
		t.Errorf("%d entries, IIS ships 378", n)
	}
	m, err := newMIMEMap(nil, false)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"a.html":            "text/html",
		"A.HTM":             "text/html",
		"jquery.min.js":     "application/javascript",
		"a.json":            "application/json",
		"a.woff2":           "application/font-woff2",
		"a.wasm":            "application/wasm",
		"a.svg":             "image/svg+xml",
		"a.ivf":             "video/x-ivf",
		"app.exe.config":    "text/xml",
		"app.config":        "",
		"a.exe":             "application/octet-stream",
		"a.webp":            "",
		"a.mjs":             "",
		"html":              "",
		"":                  "",
		"a.":                "",
		"a.avi":             "video/avi",
		"a.longerextension": "",
		"a.extension-that-is-longer-than-any-in-the-map": "",
	} {
		if got := string(m.lookup(name)); got != want {
			t.Errorf("lookup(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestOwnTypes(t *testing.T) {
	t.Parallel()
	m, err := newMIMEMap([]Type{{".WebP", "image/webp"}, {".exe", ""}, {".", "text/plain"}, {".js", "text/javascript"}}, false)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"a.webp": "image/webp", "a.exe": "", "LICENSE": "text/plain", "a.js": "text/javascript", "a.css": "text/css", "a.zzz": "",
	} {
		if got := string(m.lookup(name)); got != want {
			t.Errorf("lookup(%q) = %q, want %q", name, got, want)
		}
	}
	m, err = newMIMEMap([]Type{{".txt", "text/plain"}, {".*", "application/octet-stream"}}, true)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"a.txt": "text/plain", "a.html": "application/octet-stream", "none": "application/octet-stream",
	} {
		if got := string(m.lookup(name)); got != want {
			t.Errorf("own types only: lookup(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestLookupDoesNotAllocate(t *testing.T) {
	m, err := newMIMEMap([]Type{{".webp", "image/webp"}}, false)
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { m.lookup("jquery.min.JS") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
