//go:build cgo

package embedded

import (
	"io"
	"net"
	"sync"
	"time"
)

// forward carries connections until the listener is closed.
func forward(l net.Listener, target string) {
	for {
		in, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer in.Close()
			out, err := net.DialTimeout("tcp", target, 10*time.Second)
			if err != nil {
				if c, ok := in.(*net.TCPConn); ok {
					_ = c.SetLinger(0) // refused, as the container does
				}
				return
			}
			defer out.Close()
			var both sync.WaitGroup
			both.Go(func() { pipe(out, in) })
			both.Go(func() { pipe(in, out) })
			both.Wait()
		}()
	}
}

func pipe(to, from net.Conn) {
	_, _ = io.Copy(to, from) // either end may go at any time
	if c, ok := to.(*net.TCPConn); ok {
		_ = c.CloseWrite()
	}
}

// idle is how long answers to a sender of packets are waited for.
const idle = 90 * time.Second

// forwardPackets carries packets, and answers to whom they came from.
func forwardPackets(conn net.PacketConn, target string) {
	var mu sync.Mutex
	peers := map[string]net.Conn{}
	defer func() {
		mu.Lock()
		defer mu.Unlock()
		for _, p := range peers {
			_ = p.Close()
		}
	}()
	buf := make([]byte, 1<<16)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		mu.Lock()
		peer := peers[from.String()]
		if peer == nil {
			if peer, err = net.Dial("udp", target); err != nil {
				mu.Unlock()
				continue
			}
			peers[from.String()] = peer
			go func() {
				answers(conn, peer, from)
				mu.Lock()
				delete(peers, from.String())
				mu.Unlock()
				_ = peer.Close()
			}()
		}
		mu.Unlock()
		_ = peer.SetReadDeadline(time.Now().Add(idle))
		_, _ = peer.Write(buf[:n]) // packets may be lost
	}
}

func answers(conn net.PacketConn, peer net.Conn, to net.Addr) {
	buf := make([]byte, 1<<16)
	for {
		n, err := peer.Read(buf)
		if err != nil {
			return
		}
		if _, err := conn.WriteTo(buf[:n], to); err != nil {
			return
		}
	}
}
