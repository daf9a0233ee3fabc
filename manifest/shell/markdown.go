package shell

import (
	"bytes"
	"path"
	"regexp"
	"strings"
	"sync"

	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/words"
)

func isMarkdown(name string, data []byte) bool {
	switch strings.ToLower(path.Ext(name)) {
	case ".md", ".markdown", ".mdx", ".mdown":
		return true
	}
	return nameless(name) && readsAsMarkdown(data)
}

var (
	// mdFence begins a line of nothing else: a backquote begins no token of YAML (1.2.2, 5.3),
	// and what a scalar has is indented.
	mdFence = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile("^(?:```+[^`]*|~~~+[^~]*)$") })
	// verbatim lets other text begin, in which a line may be anything: a here document of a
	// shell, a Dockerfile or HCL, a Makefile's define, a scalar that is all of a YAML document.
	verbatim = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`<<[-~]?\s*['"\\]?\w|^define\s|^---\s+[|>]`) })
	// yamlLine begins as a line of YAML does that is no scalar.
	yamlLine = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^(?:[-?:](?:\s|$)|---|\.\.\.|[%&!{}\[\]|>"'*@]|[^\s#][^#]*:(?:\s|$))`)
	})
)

// readsAsMarkdown says by the content alone that a file is a text for people: it has a fence, or
// prose behind front matter. YAML has neither, though such a text may begin as YAML does.
func readsAsMarkdown(data []byte) bool {
	data = bytes.TrimPrefix(data[:min(len(data), 64<<10)], []byte("\ufeff"))
	if bytes.HasPrefix(data, []byte("#!")) {
		return false
	}
	first := true
	front, behind := "", false // what ends the front matter; that it has ended
	for line := range bytes.Lines(data) {
		line = bytes.TrimRight(line, " \t\r\n")
		switch {
		case len(line) == 0:
			continue
		case verbatim().Match(line):
			return false
		case mdFence().Match(line):
			return true
		case first && (string(line) == "---" || string(line) == "+++"): // YAML, TOML
			front = string(line)
		case front != "" && string(line) == front:
			front, behind = "", true
		case behind && line[0] != '#': // the first line that is no title, nor a comment
			if !yamlLine().Match(line) && line[0] != ' ' && line[0] != '\t' {
				return true
			}
			behind = false
		}
		first = false
	}
	return false
}

func recogniseMarkdown(name string, data []byte) manifest.Likelihood {
	switch {
	case isMarkdown(name, data):
		return manifest.Sure
	case nameless(name) && fenced().Match(data[:min(len(data), 64<<10)]):
		return manifest.Maybe
	}
	return manifest.No
}

var fenced = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile("(?m)^[ \t]*```(sh|bash|shell|console)[ \t\r]*$") })

// shellNames are what code blocks of shell commands are called.
var shellNames = map[string]bool{
	"": true, "sh": true, "bash": true, "shell": true, "zsh": true, "console": true, "shell-session": true,
	"shellsession": true, "terminal": true, "bash-session": true, "sh-session": true, "text": true, "none": true, "plaintext": true,
}

// mdLine is a line of a code block: its text without what indents the block.
type mdLine struct {
	start, end int // of the text, without the line's end
	next       int // of the next line
}

// blocks are the code blocks of a Markdown file (CommonMark 4.4, 4.5), each cut into
// commands: prompts are taken away, and what a block with prompts has beside them is
// output.
func blocks(src manifest.Source) ([]snippet, words.Host) {
	var list []snippet
	var block []mdLine
	flush := func() {
		list = append(list, snippets(src.Data, block)...)
		block = nil
	}
	fence, indent, keep := "", 0, false
	blank := true
	for at := 0; at < len(src.Data); {
		l := mdLine{start: at, next: len(src.Data)}
		if i := bytes.IndexByte(src.Data[at:], '\n'); i >= 0 {
			l.next = at + i + 1
		}
		l.end = at + len(bytes.TrimRight(src.Data[at:l.next], "\r\n"))
		at = l.next
		text := string(src.Data[l.start:l.end])
		trimmed := strings.TrimLeft(text, " \t")
		switch {
		case fence != "":
			if strings.HasPrefix(trimmed, fence) && strings.Trim(trimmed, fence[:1]+" \t") == "" {
				fence = ""
				flush()
			} else if keep {
				l.start += min(indent, len(text)-len(trimmed))
				block = append(block, l)
			}
		case strings.HasPrefix(trimmed, "```") || strings.HasPrefix(trimmed, "~~~"):
			flush()
			fence = trimmed[:len(trimmed)-len(strings.TrimLeft(trimmed, trimmed[:1]))]
			indent = len(text) - len(trimmed)
			info, _, _ := strings.Cut(strings.TrimSpace(trimmed[len(fence):]), " ")
			info = strings.Trim(info, "{}.")
			keep = shellNames[strings.ToLower(info)]
			if strings.Contains(trimmed[len(fence):], fence[:1]) { // `inline` code
				fence = ""
			}
		case trimmed == "":
			blank = true
			continue
		case strings.HasPrefix(text, "    ") || strings.HasPrefix(text, "\t"):
			if blank || len(block) > 0 {
				l.start += len(text) - len(trimmed)
				block = append(block, l)
			}
		default:
			flush()
		}
		blank = false
	}
	flush()
	return list, nil
}

var prompt = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[ \t]*(?:[\w.@~:/\[\] -]*)?[$#>%] +`) })

// snippets cuts a block into commands: a line, with those that a backslash at its end
// brings, and with here documents and open quotes as far as they go.
func snippets(data []byte, block []mdLine) []snippet {
	prompts := false
	for _, l := range block {
		prompts = prompts || isPrompt(data[l.start:l.end])
	}
	if !prompts {
		// One script, if it is one.
		if t := joined(data, block); t.Bytes != nil {
			if _, err := words.Parse(t, nil); err == nil {
				return []snippet{{text: t, prose: true}}
			}
		}
	}
	var list []snippet
	for i := 0; i < len(block); i++ {
		first := i
		for i+1 < len(block) && bytes.HasSuffix(data[block[i].start:block[i].end], []byte(`\`)) {
			i++
		}
		command := append([]mdLine(nil), block[first:i+1]...)
		if prompts {
			if !isPrompt(data[command[0].start:command[0].end]) {
				continue
			}
			command[0].start += len(prompt().Find(data[command[0].start:command[0].end]))
			for j := range command[1:] {
				// The shell's own prompt for what follows.
				c := &command[j+1]
				if bytes.HasPrefix(data[c.start:c.end], []byte("> ")) {
					c.start += 2
				}
			}
		}
		list = append(list, snippet{text: joined(data, command), prose: true})
	}
	return list
}

// isPrompt says that a line is typed behind a prompt: $ docker, root@host:~# docker. A #
// alone is a comment, unless an engine follows.
func isPrompt(line []byte) bool {
	m := prompt().Find(line)
	if m == nil {
		return false
	}
	mark := bytes.TrimSpace(m)
	if bytes.Equal(mark, []byte("$")) || bytes.Equal(mark, []byte("%")) {
		return true
	}
	return mark[len(mark)-1] != '>' && runLine().Match(line[len(m):])
}

// placeholder is <image>, which documents put where a reader is to put a word, and a
// shell would take for a redirection.
var placeholder = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`<[A-Za-z][A-Za-z0-9 _./:-]*>`) })

// joined makes one text of lines, in which placeholders are put out of the shell's sight.
func joined(data []byte, lines []mdLine) words.Text {
	var b words.Builder
	for _, l := range lines {
		b.Add(data[l.start:l.next], l.start)
	}
	t := b.Text()
	for _, m := range placeholder().FindAllIndex(t.Bytes, -1) {
		t = t.Mask(m[0], m[1])
	}
	return t
}
