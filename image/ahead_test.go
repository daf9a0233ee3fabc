//go:build linux

package image

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
)

func TestReadAhead(t *testing.T) {
	want := make([]byte, 5*aheadSize*aheadBuffers/2+77)
	for i := range want {
		want[i] = byte(rand.Uint32())
	}
	for name, r := range map[string]io.Reader{
		"whole":                  bytes.NewReader(want),
		"halves":                 iotest.HalfReader(bytes.NewReader(want)),
		"data and error at once": iotest.DataErrReader(bytes.NewReader(want)),
	} {
		a := readAhead(r)
		got, err := io.ReadAll(a)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if n, err := a.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("%s: after the end: %d, %v", name, n, err)
		}
		a.stop()
	}
	broken := errors.New("broken")
	for _, fault := range []error{broken, io.ErrUnexpectedEOF} {
		a := readAhead(io.MultiReader(bytes.NewReader(want), iotest.ErrReader(fault)))
		if got, err := io.ReadAll(a); err != fault || !bytes.Equal(got, want) {
			t.Errorf("%d bytes, %v; want %v", len(got), err, fault)
		}
		a.stop()
	}
	// Stopped in the middle, it reads no more.
	r := bytes.NewReader(want)
	a := readAhead(r)
	if _, err := io.CopyN(io.Discard, a, 10); err != nil {
		t.Fatal(err)
	}
	a.stop()
	if len(want)-r.Len() > (aheadBuffers+1)*aheadSize {
		t.Errorf("%d bytes were read", len(want)-r.Len())
	}
}
