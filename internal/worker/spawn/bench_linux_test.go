package spawn

import (
	"context"
	"os"
	"os/exec"
	"testing"
)

// BenchmarkSpawn compares with BenchmarkForkExec: the difference is what the
// guardian costs.
func BenchmarkSpawn(b *testing.B) {
	for name, plain := range map[string]bool{"cgroup": false, "plain": true} {
		b.Run(name, func(b *testing.B) {
			g, err := Start(Options{Executable: os.Args[0], Args: []string{"role:guardian"}, NoCgroup: plain})
			if err != nil {
				b.Fatal(err)
			}
			defer g.Close(context.Background())
			s := Spec{Path: "/bin/true", Args: []string{"true"}, Dir: "/", Mark: "0123456789abcdef"}
			for b.Loop() {
				p, err := g.Spawn(b.Context(), s)
				if err != nil {
					b.Fatal(err)
				}
				<-p.Done()
				b.StopTimer()
				if err := p.KillTree(b.Context()); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}

func BenchmarkForkExec(b *testing.B) {
	for b.Loop() {
		if err := exec.Command("/bin/true").Run(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTree(b *testing.B) {
	g, err := Start(Options{Executable: os.Args[0], Args: []string{"role:guardian"}, NoCgroup: true})
	if err != nil {
		b.Fatal(err)
	}
	defer g.Close(context.Background())
	p, err := g.Spawn(b.Context(), Spec{Path: "/bin/sleep", Args: []string{"sleep", "1000"}, Dir: "/"})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if pids, err := p.Tree(); err != nil || len(pids) != 1 {
			b.Fatal(pids, err)
		}
	}
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		g, err := Start(Options{Executable: os.Args[0], Args: []string{"role:guardian"}})
		if err != nil {
			b.Fatal(err)
		}
		if err := g.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
