package plan

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// manySites is a folder with an applicationHost.config of n sites, each an
// application with a web.config of its own.
func manySites(b *testing.B, n int) (dir, text string) {
	b.Helper()
	dir = b.TempDir()
	var sites strings.Builder
	for i := range n {
		name := fmt.Sprintf("site%d", i)
		folder := filepath.Join(dir, name)
		if err := os.Mkdir(folder, 0o755); err != nil {
			b.Fatal(err)
		}
		config := webConfigWith(strings.Replace(app, "dotnet", "./"+name, 1))
		if err := os.WriteFile(filepath.Join(folder, "web.config"), []byte(config), 0o644); err != nil {
			b.Fatal(err)
		}
		sites.WriteString(plainSite(i+1, name, "*:80:"+name+".example.com", name) + "\n")
	}
	text = hostConfig("", sites.String())
	writeFile(b, filepath.Join(dir, "applicationHost.config"), text)
	return dir, text
}

func writeFile(b *testing.B, path, text string) {
	b.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		b.Fatal(err)
	}
}

func live() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkBuild reads 1,000 sites, and tells what one plan holds in memory.
func BenchmarkBuild(b *testing.B) {
	dir, _ := manySites(b, 1000)
	before := live()
	var p *Plan
	for b.Loop() {
		var err error
		if p, err = Build(served(dir), parts(), nil); err != nil || p.Problems.HasErrors() {
			b.Fatal(err, p.Problems)
		}
	}
	b.ReportMetric(float64(live()-before)/(1<<20), "MB")
	runtime.KeepAlive(p)
}

// BenchmarkReload changes the web.config of one of 1,000 sites, or takes a
// site into their file and out again.
func BenchmarkReload(b *testing.B) {
	dir, text := manySites(b, 1000)
	changes := map[string]func(i int){
		"one web.config": func(i int) {
			config := webConfigWith(strings.Replace(app, "dotnet", fmt.Sprintf("./changed%d", i), 1))
			writeFile(b, filepath.Join(dir, "site7", "web.config"), config)
		},
		"one site": func(i int) {
			if i%2 == 0 {
				writeFile(b, filepath.Join(dir, "applicationHost.config"), strings.Replace(text, "\n</sites>", plainSite(5000, "more", "*:80:more.test", "site1")+"\n</sites>", 1))
			} else {
				writeFile(b, filepath.Join(dir, "applicationHost.config"), text)
			}
		},
	}
	for name, change := range changes {
		b.Run(name, func(b *testing.B) {
			age(b, dir)
			p, err := Build(served(dir), parts(), nil)
			if err != nil {
				b.Fatal(err)
			}
			i := 0
			for b.Loop() {
				change(i)
				if p, err = Build(served(dir), parts(), p); err != nil || p.Problems.HasErrors() {
					b.Fatal(err, p.Problems)
				}
				i++
			}
		})
	}
}
