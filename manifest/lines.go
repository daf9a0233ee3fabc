package manifest

import (
	"bytes"
	"sort"
	"unicode/utf8"
)

// Lines finds lines and columns of a file's offsets.
type Lines struct {
	file   string
	data   []byte
	starts []int // offset of each line's first byte
	bom    int
	marks  []mark
}

// A mark is a place in a long line whose column is known, so that the next one's is not
// counted from the line's beginning.
type mark struct{ offset, runes int }

// apart are the bytes from one mark to the next.
const apart = 1 << 12

// NewLines indexes a file. Lines end at "\n"; a "\r" alone ends none.
func NewLines(file string, data []byte) *Lines {
	l := &Lines{file: file, data: data, starts: make([]int, 1, 16+len(data)/32)}
	if bytes.HasPrefix(data, []byte("\ufeff")) {
		l.bom = len("\ufeff")
	}
	for at := 0; ; {
		i := bytes.IndexByte(data[at:], '\n')
		if i < 0 {
			l.mark(at, len(data))
			return l
		}
		l.mark(at, at+i)
		at += i + 1
		l.starts = append(l.starts, at)
	}
}

// mark puts marks into a line that is long.
func (l *Lines) mark(from, end int) {
	if from == 0 {
		from = min(l.bom, end)
	}
	runes := 0
	for end-from > apart {
		next := from + apart
		for next < end && !utf8.RuneStart(l.data[next]) {
			next++
		}
		runes += utf8.RuneCount(l.data[from:next])
		from = next
		l.marks = append(l.marks, mark{from, runes})
	}
}

// Pos makes a place of two offsets.
func (l *Lines) Pos(start, end int) Pos {
	line := sort.SearchInts(l.starts, start+1) // the first that begins behind start
	from := l.starts[line-1]
	if line == 1 && start >= l.bom {
		from = l.bom
	}
	column := 1
	if i := sort.Search(len(l.marks), func(i int) bool { return l.marks[i].offset > start }) - 1; i >= 0 && l.marks[i].offset > from {
		from, column = l.marks[i].offset, l.marks[i].runes+1
	}
	return Pos{File: l.file, Start: start, End: end, Line: line, Column: column + utf8.RuneCount(l.data[from:start])}
}

// Start is the offset of a line's first byte, lines from 1; behind the last one it is
// the end of the data.
func (l *Lines) Start(line int) int {
	if line > len(l.starts) {
		return len(l.data)
	}
	return l.starts[line-1]
}

// Count is how many lines there are.
func (l *Lines) Count() int { return len(l.starts) }

// Mentions counts a name of a variable in what is no line of comment: who finds as many as
// he knows of knows all.
func Mentions(data []byte, name string) int {
	n := 0
	for line := range bytes.Lines(data) {
		if t := bytes.TrimLeft(line, " \t"); len(t) > 0 && t[0] == '#' {
			continue
		}
		for at := 0; ; {
			i := bytes.Index(line[at:], []byte(name))
			if i < 0 {
				break
			}
			from, to := at+i, at+i+len(name)
			if (from == 0 || !inName(line[from-1])) && (to == len(line) || !inName(line[to])) {
				n++
			}
			at = to
		}
	}
	return n
}

func inName(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}
