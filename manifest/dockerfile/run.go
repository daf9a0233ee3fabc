package dockerfile

import (
	"bytes"
	"errors"
	"path"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/words"
)

// Facts of an image: what a file of it is given that lets those who execute it gain
// privilege. The value is what is given to what: "cap_net_raw+ep /usr/bin/ping".
const (
	FactFileCaps = "setcap"
	FactSetUID   = "set-uid"
	FactSetGID   = "set-gid"
	// FactInsecure is a RUN with --security=insecure: the build itself is privileged.
	FactInsecure = "run --security"
)

// run looks for commands that give files privilege.
func (s *stage) run(b *build, n *parser.Node, at manifest.Pos) {
	for _, f := range n.Flags {
		if v, ok := strings.CutPrefix(f, "--security="); ok {
			s.facts = append(s.facts, manifest.Pair{Key: FactInsecure, KeyAt: at, Value: manifest.Of(v, v, at)})
		}
	}
	if n.Attributes["json"] {
		var list []words.Word
		for w := n.Next; w != nil; w = w.Next {
			list = append(list, words.New(w.Value, w.Value, at.Start, at.End, nil))
		}
		s.command(b, list)
		return
	}
	for _, t := range b.scripts(n) {
		commands, err := words.Parse(t, nil)
		var we *words.Error
		if errors.As(err, &we) && bytes.Contains(t.Bytes, []byte("setcap")) {
			b.errs = append(b.errs, &manifest.Error{At: b.lines.Pos(we.At, we.At), Reason: "the shell cannot read this: " + we.Error()})
		}
		for _, c := range commands {
			s.command(b, c.Bare())
		}
	}
}

// scripts are the shell texts of a RUN: the line itself, or the here documents that a
// shell reads.
func (b *build) scripts(n *parser.Node) []words.Text {
	docs := 0
	for _, h := range n.Heredocs {
		docs += strings.Count(h.Content, "\n") + 1
	}
	head := *n
	head.EndLine -= docs
	l := b.logical(&head)
	from := len("run")
	skip := func() {
		for from < len(l.text) && isBlank(l.text[from]) {
			from++
		}
	}
	for skip(); from < len(l.text) && strings.HasPrefix(l.text[from:], "--"); skip() {
		for from < len(l.text) && !isBlank(l.text[from]) {
			from++
		}
	}
	if from >= len(l.text) {
		return nil
	}
	var tb words.Builder
	for i := from; i < len(l.text); i++ {
		tb.Put(l.text[i], l.at[i], 1)
	}
	if docs == 0 {
		return []words.Text{tb.Text()}
	}
	// RUN <<EOF, and RUN sh <<EOF, run the document (BuildKit
	// dockerfile2llb/convert.go dispatchRun).
	first, _, _ := strings.Cut(strings.TrimSpace(l.text[from:]), "<<")
	if first = strings.TrimSpace(first); first != "" {
		program, _, _ := strings.Cut(first, " ")
		switch path.Base(program) {
		case "sh", "bash", "ash", "dash":
		default:
			return []words.Text{tb.Text()}
		}
	}
	var list []words.Text
	line := head.EndLine // the index of the line behind it
	for _, h := range n.Heredocs {
		count := strings.Count(h.Content, "\n")
		start, end := b.file.lines[line], b.file.lines[min(line+count, len(b.file.lines)-1)]
		text := b.data[start:end]
		if !bytes.HasPrefix(text, []byte("#!")) || bytes.Contains(text[:min(len(text), 80)], []byte("sh")) {
			list = append(list, words.Whole(text, start))
		}
		line += count + 1
	}
	return list
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// command notes what setcap, chmod and install do.
func (s *stage) command(b *build, list []words.Word) {
	if len(list) < 2 {
		return
	}
	args := list[1:]
	switch path.Base(list[0].Text) {
	case "setcap":
		s.setcap(b, args)
	case "chmod":
		for len(args) > 0 && strings.HasPrefix(args[0].Text, "-") && strings.Trim(args[0].Text, "-rwxXst") != "" {
			args = args[1:]
		}
		if len(args) > 1 {
			s.mode(b, args[0], args[0].Text, args[1:])
		}
	case "install":
		for i, w := range args {
			mode, joined := strings.CutPrefix(w.Text, "--mode=")
			switch {
			case joined:
				s.mode(b, w, mode, args[len(args)-1:])
			case w.Text == "-m" && i+1 < len(args):
				s.mode(b, args[i+1], args[i+1].Text, args[len(args)-1:])
			case strings.HasPrefix(w.Text, "-m"):
				s.mode(b, w, w.Text[2:], args[len(args)-1:])
			}
		}
	}
}

// setcap: setcap [-q] [-v] [-n ROOTID] CAPS FILE …; -v only compares, -r takes away
// (setcap(8)).
func (s *stage) setcap(b *build, args []words.Word) {
	for i := 0; i < len(args); i++ {
		switch t := args[i].Text; {
		case t == "-v" || t == "-h":
			return
		case t == "-r":
			i++
		case t == "-n":
			i++
		case strings.HasPrefix(t, "-"):
		case i+1 < len(args):
			s.give(b, FactFileCaps, args[i], t, args[i+1])
			i++
		}
	}
}

func (s *stage) give(b *build, key string, what words.Word, text string, to words.Word) {
	at := b.lines.Pos(what.Start, max(to.End, what.End))
	v := manifest.Of(text+" "+to.Text, what.Raw+" "+to.Raw, at)
	for _, w := range []words.Word{what, to} {
		if w.Why != "" {
			v = manifest.NotKnown[string](v.Raw, w.Why, at)
		}
	}
	s.facts = append(s.facts, manifest.Pair{Key: key, KeyAt: b.lines.Pos(what.Start, what.End), Value: v})
}

// mode looks at what chmod and install set.
func (s *stage) mode(b *build, w words.Word, mode string, files []words.Word) {
	uid, gid := setID(mode)
	for _, f := range files {
		if uid {
			s.give(b, FactSetUID, w, mode, f)
		}
		if gid {
			s.give(b, FactSetGID, w, mode, f)
		}
	}
}

// setID says whether a mode, in either notation of chmod(1), sets the bits.
func setID(mode string) (uid, gid bool) {
	if n, err := strconv.ParseUint(mode, 8, 32); err == nil {
		return n&0o4000 != 0, n&0o2000 != 0
	}
	for clause := range strings.SplitSeq(mode, ",") {
		i := strings.IndexAny(clause, "+=-")
		if i < 0 {
			return uid, gid
		}
		who, rest := clause[:i], clause[i:]
		set := byte(0)
		for j := range len(rest) {
			switch c := rest[j]; c {
			case '+', '=', '-':
				set = c
			case 's':
				on := set != '-'
				if who == "" || strings.ContainsAny(who, "ua") {
					uid = on
				}
				if who == "" || strings.ContainsAny(who, "ga") {
					gid = on
				}
			}
		}
	}
	return uid, gid
}

// copy looks at --chmod, and at what comes from another stage.
func (s *stage) copy(b *build, n *parser.Node, at manifest.Pos) {
	var last *parser.Node
	for w := n.Next; w != nil; w = w.Next {
		last = w
	}
	for _, f := range n.Flags {
		if mode, ok := strings.CutPrefix(f, "--chmod="); ok && last != nil {
			w := words.New(mode, mode, at.Start, at.End, nil)
			s.mode(b, w, mode, []words.Word{words.New(last.Value, last.Value, at.Start, at.End, nil)})
		}
		if name, ok := strings.CutPrefix(f, "--from="); ok {
			from := b.stage(name)
			if i, err := strconv.Atoi(name); from == nil && err == nil && i >= 0 && i < len(b.stages)-1 {
				from = b.stages[i]
			}
			if from == nil {
				continue
			}
			// Extended attributes and modes come along.
			for _, fact := range append(from.facts, from.copies...) {
				switch fact.Key {
				case FactFileCaps, FactSetUID, FactSetGID:
					s.copies = append(s.copies, fact)
				}
			}
		}
	}
}

func (s *stage) expose(b *build, n *parser.Node, at manifest.Pos) {
	for w := n.Next; w != nil; w = w.Next {
		t := b.text(s.env, w.Value, at)
		p := manifest.Port{Raw: w.Value, At: t.At}
		number, protocol, _ := strings.Cut(t.V, "/")
		p.Protocol = protocol
		first, last, ranged := strings.Cut(number, "-")
		p.Container, _ = strconv.Atoi(first)
		if ranged {
			p.Last, _ = strconv.Atoi(last)
		}
		s.ports = append(s.ports, p)
	}
}
