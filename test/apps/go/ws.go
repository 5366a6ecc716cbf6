package main

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/coder/websocket"
)

// ws echoes messages; the text "close" closes from this side.
func (a *application) ws(w http.ResponseWriter, r *http.Request) {
	var protocols []string
	if p, _, _ := strings.Cut(r.Header.Get("Sec-WebSocket-Protocol"), ","); p != "" {
		protocols = []string{strings.TrimSpace(p)}
	}
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols:       protocols,
		InsecureSkipVerify: true,
		CompressionMode:    websocket.CompressionContextTakeover, // if asked for; the module must not
	})
	if err != nil {
		return
	}
	defer c.CloseNow()
	c.SetReadLimit(1 << 20)
	a.track(c, true)
	defer a.track(c, false)

	for {
		kind, data, err := c.Read(context.Background())
		if err != nil {
			return
		}
		if kind == websocket.MessageText && string(data) == "close" {
			c.Close(websocket.StatusNormalClosure, "bye")
			return
		}
		if err := c.Write(context.Background(), kind, data); err != nil {
			return
		}
	}
}

func (a *application) track(c *websocket.Conn, open bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if open {
		a.sockets[c] = struct{}{}
	} else {
		delete(a.sockets, c)
	}
}

// closeSockets says good-bye on every open socket, as applications do when
// they stop, and waits for the answers.
func (a *application) closeSockets() {
	a.mu.Lock()
	open := slices.Collect(maps.Keys(a.sockets))
	a.mu.Unlock()
	var all sync.WaitGroup
	for _, c := range open {
		all.Go(func() { c.Close(websocket.StatusGoingAway, "stopping") })
	}
	all.Wait()
}
