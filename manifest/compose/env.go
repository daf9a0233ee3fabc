package compose

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/leastcap/leastcap/manifest"
)

// envProblem is an error of compose-go's dotenv/parser.go, which quotes a line of the file.
var envProblem = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?s)^line (\d+): (?:(unexpected character ".+?" in variable name) |unterminated quoted value (.+)|)`)
})

// envError is what is wrong with a file of variables, and where, without what their values are.
func envError(name string, data []byte, err error) *manifest.Error {
	text := err.Error()
	m := envProblem().FindStringSubmatch(text)
	if m == nil {
		return &manifest.Error{At: manifest.Pos{File: name}, Err: err}
	}
	lines := manifest.NewLines(name, data)
	n, _ := strconv.Atoi(m[1]) // digits
	at := lines.Start(max(n, 1))
	switch {
	case m[2] != "":
		text = m[2]
	case m[3] != "":
		text = "a quote is not closed"
		// The number is of the file's last line: this is where the line is that is quoted.
		for i, line := range bytes.Split(data, []byte{'\n'}) {
			if strings.HasSuffix(strings.TrimRight(string(line), "\r"), strings.TrimRight(m[3], "\r")) {
				at = lines.Start(i + 1)
				break
			}
		}
	default:
		text = text[len(m[0]):]
	}
	return &manifest.Error{At: lines.Pos(at, at), Reason: text}
}
