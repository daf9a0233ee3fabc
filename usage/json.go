package usage

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// EscapeJSON escapes in JSON what is not printed: names come from workloads, and JSON is
// shown on terminals too. encoding/json leaves DEL, the C1 control characters and marks that
// change the direction of writing as they are. What stands for bytes that are no text is
// always written the same way, so that reading and writing again changes nothing.
func EscapeJSON(data []byte) []byte {
	var out []byte
	from := 0
	for i := 0; i < len(data); {
		if data[i] < 0x7f {
			i++
			continue
		}
		r, size := utf8.DecodeRune(data[i:])
		// All that is beyond ASCII is within strings.
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			out = append(out, data[from:i]...)
			for _, unit := range utf16.AppendRune(nil, r) {
				out = fmt.Appendf(out, `\u%04x`, unit)
			}
			from = i + size
		}
		i += size
	}
	if from == 0 {
		return data
	}
	return append(out, data[from:]...)
}

// JSONWriter does that to what json.Encoder writes.
func JSONWriter(w io.Writer) io.Writer { return jsonWriter{w} }

type jsonWriter struct{ w io.Writer }

// Write gets a whole value: that is how the encoder writes.
func (j jsonWriter) Write(data []byte) (int, error) {
	if _, err := j.w.Write(EscapeJSON(data)); err != nil {
		return 0, err
	}
	return len(data), nil
}

// JSONOffset is where encoding/json, which gave err, saw in data what it is of; ok is false if
// it did not say. What a type's own method says is of a part of data.
func JSONOffset(data []byte, err error) (offset int, ok bool) {
	switch e := err.(type) { // one that is wrapped is of such a part
	case *json.SyntaxError:
		offset = int(e.Offset) - 1 // it has read what is wrong
	case *json.UnmarshalTypeError:
		offset = int(e.Offset) - 1
	default:
		if err != io.ErrUnexpectedEOF { // as a Decoder says it
			return 0, false
		}
		offset = len(data) - 1
	}
	return min(max(offset, 0), len(data)), true
}

// A PlacedError is of JSON, and knows where in it.
type PlacedError struct {
	Line, Column int // from 1; columns are characters
	Err          error
}

func (e *PlacedError) Error() string { return e.Err.Error() }
func (e *PlacedError) Unwrap() error { return e.Err }

// UnmarshalJSON is [json.Unmarshal] with errors that say where, if they are [PlacedError]s.
func UnmarshalJSON(data []byte, into any) error {
	err := json.Unmarshal(data, into)
	at, ok := JSONOffset(data, err)
	if !ok {
		return err
	}
	before := data[:at]
	start := bytes.LastIndexByte(before, '\n') + 1
	return &PlacedError{bytes.Count(before, []byte{'\n'}) + 1, utf8.RuneCount(before[start:]) + 1, err}
}

// At is a file's name with the place in it that an error knows: "p.json:12:3".
func At(name string, err error) string {
	if e := (*PlacedError)(nil); errors.As(err, &e) {
		return fmt.Sprintf("%s:%d:%d", name, e.Line, e.Column)
	}
	return name
}
