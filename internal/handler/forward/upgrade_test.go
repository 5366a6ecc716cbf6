package forward_test

import (
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const (
	askUpgrade = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n"
	switched   = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: k\r\n\r\n"
	passed     = "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: k\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
)

// tunnelled starts an upgraded exchange with an application that plays on
// behind its 101, and checks that it is counted as a long-lived one.
func tunnelled(t *testing.T, play func(*peer), opts ...option) (r *rig, client *peer, lingering *atomic.Int32) {
	t.Helper()
	lingering = new(atomic.Int32)
	opts = append(opts, timeout(20*time.Second), linger(func() func() {
		lingering.Add(1)
		return func() { lingering.Add(-1) }
	}))
	r = newRig(t, func(p *peer) {
		if head := p.head(); !strings.Contains(head, "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n") {
			p.fail("got %q, which asks for nothing", head)
		}
		play(p)
	}, opts...)
	client = r.client()
	client.send(askUpgrade)
	return r, client, lingering
}

// over waits for an upgraded exchange to end.
func (r *rig) over(lingering *atomic.Int32) {
	r.t.Helper()
	r.until("the exchange is over", func() bool { return lingering.Load() == 0 && r.server.Connections() == 0 })
}

func TestUpgrade(t *testing.T) {
	t.Parallel()
	r, client, lingering := tunnelled(t, func(p *peer) {
		p.send(switched + "first") // bytes behind the head
		p.want("early" + "ping")
		p.send("pong")
		p.more()
	})
	client.send("early") // bytes behind the request
	client.wantDateless(passed)
	client.want("first")
	client.send("ping")
	client.want("pong")
	if n := lingering.Load(); n != 1 {
		t.Errorf("%d exchanges linger, want 1", n)
	}
	client.close()
	r.over(lingering)
}

func TestUpgradeCarriesMuch(t *testing.T) {
	t.Parallel()
	data := noise(4 << 20)
	r, client, lingering := tunnelled(t, func(p *peer) {
		p.send(switched)
		io.Copy(p.nc, p.r) // an echo, until the client ends its direction
	})
	client.wantDateless(passed)
	go func() {
		client.send(data)
		client.closeWrite()
	}()
	if all, err := client.all(); all != data || err != nil {
		t.Errorf("got %d bytes and %v, want %d", len(all), err, len(data))
	}
	r.over(lingering)
	if errs := r.errs(); len(errs) > 0 {
		t.Errorf("error %v", errs)
	}
}

// An upgraded connection may be silent for longer than the request timeout.
func TestUpgradeHasNoTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, client, _ := tunnelled(t, func(p *peer) {
			p.send(switched)
			time.Sleep(10 * time.Minute)
			p.send("still here")
			p.want("so am I")
		}, inMemory)
		client.wantDateless(passed)
		client.want("still here")
		time.Sleep(10 * time.Minute)
		client.send("so am I")
		client.ends()
	})
}

// Nor need it read for that long, as long as it reads at all.
func TestUpgradeWaitsForASlowReader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		data := noise(100000)
		_, client, _ := tunnelled(t, func(p *peer) {
			p.send(switched)
			time.Sleep(time.Minute)
			p.want(data)
			p.send("got it")
		}, inMemory)
		client.wantDateless(passed)
		go client.send(data)
		client.want("got it")
	})
}

func TestUpgradeHalfClosed(t *testing.T) {
	t.Parallel()
	t.Run("by the client", func(t *testing.T) {
		t.Parallel()
		r, client, lingering := tunnelled(t, func(p *peer) {
			p.send(switched)
			p.want("bye")
			p.ends()
			p.send("a last word")
		})
		client.wantDateless(passed)
		client.send("bye")
		client.closeWrite()
		client.want("a last word")
		client.ends()
		r.over(lingering)
	})
	t.Run("by the application", func(t *testing.T) {
		t.Parallel()
		r, client, lingering := tunnelled(t, func(p *peer) {
			p.send(switched + "bye")
			p.closeWrite()
			p.want("a last word")
			p.ends()
		})
		client.wantDateless(passed)
		client.want("bye")
		client.ends()
		client.send("a last word")
		client.close()
		r.over(lingering)
	})
}

func TestUpgradeBroken(t *testing.T) {
	t.Parallel()
	for _, by := range []string{"client", "application"} {
		for _, how := range []string{"closes", "resets", "resets in the middle"} {
			t.Run(by+" "+how, func(t *testing.T) {
				t.Parallel()
				end := func(p *peer) {
					if how == "closes" {
						p.close()
					} else {
						p.reset()
					}
				}
				r, client, lingering := tunnelled(t, func(p *peer) {
					p.send(switched)
					if how == "resets in the middle" {
						go p.send(noise(1 << 20))
						io.CopyN(io.Discard, p.r, 1000)
					}
					if by == "application" {
						end(p)
					} else {
						io.Copy(io.Discard, p.r)
					}
				})
				client.wantDateless(passed)
				if how == "resets in the middle" {
					go client.send(noise(1 << 20))
					io.CopyN(io.Discard, client.r, 1000)
				}
				if by == "client" {
					end(client)
				} else {
					client.all()
					client.close()
				}
				r.over(lingering)
				for _, err := range r.errs() {
					if !strings.Contains(err.Error(), "relay upgraded connection") {
						t.Errorf("error %v", err)
					}
				}
			})
		}
	}
}

// A tunnel of which one half has ended, and the other is idle, ends: a peer
// that has gone for good looks the same. One that moves goes on.
func TestUpgradeHalfOpen(t *testing.T) {
	t.Parallel()
	const patience = 30 * time.Second
	for name, pieces := range map[string]int{"idle": 0, "moving": 20} {
		for _, by := range []string{"client", "application"} {
			t.Run(by+" ended, "+name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					both := make(chan *peer)
					r, client, lingering := tunnelled(t, func(p *peer) {
						p.send(switched)
						both <- p
						<-both
					}, inMemory)
					client.wantDateless(passed)
					app := <-both
					ended, other := client, app
					if by == "application" {
						ended, other = app, client
					}
					ended.closeWrite()
					if other.more() {
						t.Error("the end of a direction was not passed on")
					}
					for range pieces {
						time.Sleep(patience - time.Second)
						go other.send("x")
						ended.want("x")
					}
					begin := time.Now()
					r.over(lingering)
					if took := time.Since(begin); took < patience-time.Second || took > 2*patience+time.Second {
						t.Errorf("the tunnel ended after %v", took)
					}
					close(both)
				})
			})
		}
	}
}

func TestUpgradeRefused(t *testing.T) {
	t.Parallel()
	play, _ := answers("HTTP/1.1 403 Forbidden\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nno", ok)
	r := newRig(t, play)
	client := r.client()
	client.send(askUpgrade)
	client.wantDateless("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
	client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	client.wantDateless(ok)
	if n := r.conns.Load(); n != 1 {
		t.Errorf("%d connections to the application, want 1", n)
	}
}

// The server's end is the end of its tunnels.
func TestUpgradeEndsWithTheServer(t *testing.T) {
	t.Parallel()
	r, client, lingering := tunnelled(t, func(p *peer) {
		p.send(switched)
		p.more()
	})
	client.wantDateless(passed)
	done := make(chan struct{})
	go func() {
		defer close(done)
		client.more()
	}()
	r.cut()
	<-done
	r.over(lingering)
}
