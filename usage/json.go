package usage

import (
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
		r, size := rune(data[i]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRune(data[i:])
		}
		// All that is beyond ASCII is within strings.
		if r >= 0x7f && (r == utf8.RuneError || !unicode.IsPrint(r)) {
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
