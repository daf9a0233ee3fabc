package image

import "io"

// ahead reads in a goroutine of its own, so that decompressing and hashing go on
// while files are written.
type ahead struct {
	full, free chan []byte
	stopped    chan struct{}
	err        error  // for who has seen full closed
	buf, rest  []byte // that is being read
}

const (
	aheadBuffers = 8
	aheadSize    = 256 << 10 // bytes
)

// readAhead begins to read r. The caller must call stop.
func readAhead(r io.Reader) *ahead {
	a := &ahead{full: make(chan []byte, aheadBuffers), free: make(chan []byte, aheadBuffers), stopped: make(chan struct{})}
	for range aheadBuffers {
		a.free <- make([]byte, aheadSize)
	}
	go func() {
		defer close(a.full)
		for {
			var b []byte
			select {
			case b = <-a.free:
			case <-a.stopped:
				return
			}
			var n int
			var err error
			for n < len(b) && err == nil {
				var k int
				k, err = r.Read(b[n:])
				n += k
			}
			if n > 0 {
				a.full <- b[:n] // which has room for all buffers
			}
			if err != nil {
				a.err = err
				return
			}
		}
	}()
	return a
}

func (a *ahead) Read(p []byte) (int, error) {
	if len(a.rest) == 0 {
		if a.buf != nil {
			a.free <- a.buf[:aheadSize]
			a.buf = nil
		}
		b, ok := <-a.full
		if !ok {
			return 0, a.err
		}
		a.buf, a.rest = b, b
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// stop waits until nothing is read any more. After it nothing can be read.
func (a *ahead) stop() {
	close(a.stopped)
	for range a.full {
	}
}
