package manifest

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
)

// An Edit replaces a range of a file's bytes.
type Edit struct {
	File       string
	Start, End int    // byte offsets; equal for an insertion
	New        string // the bytes that stand there afterwards
	Reason     string // for people: "drop ALL"
}

// Apply makes the edits, which are all of one file. They may come in any order; the same
// edit twice counts once. Edits that overlap, insertions at the same place that differ,
// and ranges outside the data are errors, and then nothing is changed. Without edits the
// result is data itself.
func Apply(data []byte, edits []Edit) ([]byte, error) {
	edits, err := order(len(data), edits)
	if err != nil || len(edits) == 0 {
		return data, err
	}
	size := len(data)
	for _, e := range edits {
		size += len(e.New) - (e.End - e.Start)
	}
	out := make([]byte, 0, size)
	at := 0
	for _, e := range edits {
		out = append(out, data[at:e.Start]...)
		out = append(out, e.New...)
		at = e.End
	}
	return append(out, data[at:]...), nil
}

// order sorts and checks edits of data that is size bytes long.
func order(size int, edits []Edit) ([]Edit, error) {
	sorted := slices.Clone(edits)
	slices.SortStableFunc(sorted, func(a, b Edit) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.End, b.End), cmp.Compare(a.New, b.New))
	})
	sorted = slices.CompactFunc(sorted, func(a, b Edit) bool {
		return a.Start == b.Start && a.End == b.End && a.New == b.New
	})
	for i, e := range sorted {
		switch {
		case e.Start < 0 || e.End < e.Start || e.End > size:
			return nil, fmt.Errorf("edit of bytes %d to %d of %s, which has %d", e.Start, e.End, e.File, size)
		case i == 0:
		case e.File != sorted[0].File:
			return nil, fmt.Errorf("edits of two files, %s and %s", sorted[0].File, e.File)
		case e.Start < sorted[i-1].End, e.Start == sorted[i-1].Start && e.End == e.Start,
			e.Start == sorted[i-1].Start && sorted[i-1].End == e.Start:
			return nil, fmt.Errorf("two edits of the same place, bytes %d to %d and %d to %d of %s (%s; %s)",
				sorted[i-1].Start, sorted[i-1].End, e.Start, e.End, e.File, sorted[i-1].Reason, e.Reason)
		}
	}
	return sorted, nil
}

// Newline is the line ending that the data uses where offset is: "\r\n" or "\n". An edit
// that adds lines uses it.
func Newline(data []byte, offset int) string {
	if i := bytes.IndexByte(data[min(offset, len(data)):], '\n'); i >= 0 {
		if at := min(offset, len(data)) + i; at > 0 && data[at-1] == '\r' {
			return "\r\n"
		}
		return "\n"
	}
	if i := bytes.LastIndexByte(data, '\n'); i > 0 && data[i-1] == '\r' {
		return "\r\n"
	}
	return "\n"
}
