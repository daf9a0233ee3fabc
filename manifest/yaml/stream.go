// Package yaml reads YAML, and JSON as a part of it, into trees that know where in the
// file each node is, to the byte, and edits mappings and sequences in the style they are
// written in.
//
// go.yaml.in/yaml/v3 says what the tree is. Its nodes have the line and column where
// they begin; where they end is found here, by reading the source at that place.
package yaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	v3 "go.yaml.in/yaml/v3"

	"github.com/leastcap/leastcap/manifest"
)

// A File is one that is split into its documents.
type File struct {
	Name string
	Data []byte

	docs  []Document
	lines *manifest.Lines
	odd   []int // offsets of lines as YAML 1.1 has them, if it has others than "\n" and "\r\n"
	isOdd bool

	stream bool  // it may be one of JSON objects: see [ReadStream]
	broken error // what is wrong where its JSON ends
}

// A Document is one of a file's. Until [Document.Parse] it is only bytes.
type Document struct {
	Number     int // from 1
	Start, End int // in the file

	file *File
	root *v3.Node
	json bool  // it is one of a stream of JSON values
	err  error // what is wrong with it, known before it is parsed
	line int   // lines of the file before it, as YAML counts them; -1 if not counted yet

	anchors []*v3.Node // in the order of the document
	aliases []Alias
	paths   map[*v3.Node][]string // of anchors
	dups    []duplicate
	braces  *v3.Node // {{something}} without quotes
	deep    *v3.Node // nested deeper than is allowed
}

// duplicate is a key that its mapping has already.
type duplicate struct {
	key  *v3.Node
	path []string // of the key
}

// An Alias is where a document refers to an anchor.
type Alias struct {
	Node  Node
	Path  []string // keys and indexes that lead to it
	Merge bool     // it is the value of a merge key, or among them
}

// What is read of one file. A Kubernetes object has at most 1.5 MiB (etcd's limit of a
// request), and a rendered chart some thousands of them.
const (
	maxDocument  = 4 << 20
	maxDocuments = 50_000
)

// Read splits a file. The error is about all of it: its size, its encoding.
func Read(src manifest.Source) (*File, error) {
	return newFile(src, false)
}

func newFile(src manifest.Source, stream bool) (*File, error) {
	if err := manifest.CheckSize(src); err != nil {
		return nil, err
	}
	f := &File{Name: src.Name, Data: src.Data, stream: stream}
	if err := f.encoding(); err != nil {
		return nil, err
	}
	f.split()
	if len(f.docs) > maxDocuments {
		at := f.docs[maxDocuments].Start
		return nil, &manifest.Error{At: f.Lines().Pos(at, at), Reason: fmt.Sprintf("more than %d documents", maxDocuments)}
	}
	return f, nil
}

// encoding refuses what the offsets would be wrong for.
func (f *File) encoding() error {
	d := f.Data
	switch {
	case bytes.HasPrefix(d, []byte{0xff, 0xfe}), bytes.HasPrefix(d, []byte{0xfe, 0xff}):
		return &manifest.Error{At: manifest.Pos{File: f.Name}, Reason: "the file is UTF-16", Hint: "save it as UTF-8"}
	}
	if i := bytes.IndexByte(d, 0); i >= 0 {
		return &manifest.Error{At: f.Lines().Pos(i, i+1), Reason: "a NUL byte: this is no text file"}
	}
	return nil
}

// Lines is the index of the file's lines.
func (f *File) Lines() *manifest.Lines {
	if f.lines == nil {
		f.lines = manifest.NewLines(f.Name, f.Data)
	}
	return f.lines
}

// Documents are the file's, in order. A part without content is one, too.
func (f *File) Documents() []Document { return f.docs }

// ReadOne reads a file of one document. reason is what an error says of a file of none or
// several.
func ReadOne(src manifest.Source, reason string) (*Document, Node, error) {
	f, err := Read(src)
	if err != nil {
		return nil, Node{}, err
	}
	if len(f.docs) != 1 {
		at := f.docs[1].Start
		return nil, Node{}, &manifest.Error{At: f.Lines().Pos(at, at), Reason: reason, Hint: "take out what is from here on, or give it a file of its own"}
	}
	root, err := f.docs[0].Parse()
	return &f.docs[0], root, err
}

// split cuts the file where a line begins with a document's marker. Such a line is a
// marker wherever it stands, also in a block scalar (YAML 1.2.2, 9.1.2), so that this
// needs no parser, and a broken document breaks no other.
func (f *File) split() {
	start, content, closed := 0, false, false
	if f.stream {
		start = f.objects()
	}
	first := len(f.docs)
	cut := func(at int) {
		f.docs = append(f.docs, Document{Number: len(f.docs) + 1, Start: start, End: at, file: f, line: -1})
		start, content, closed = at, false, false
	}
	for at := max(start, f.bom()); at < len(f.Data) && len(f.docs) <= maxDocuments; {
		line := f.Data[at:]
		next := len(f.Data)
		if i := bytes.IndexByte(line, '\n'); i >= 0 {
			line, next = line[:i], at+i+1
		}
		switch {
		case isMarker(line, "---"):
			if content || closed {
				cut(at)
			}
			content = true
		case isMarker(line, "..."):
			closed = true
		case blank(line):
		case closed:
			cut(at)
			content = line[0] != '%'
		case !content && line[0] != '%':
			content = true
		}
		at = next
	}
	switch n := len(f.docs); {
	case first > 0 && n == first && !content && !closed && f.broken == nil:
		f.docs[n-1].End = len(f.Data) // only white space and comments behind JSON
	case start < len(f.Data) || n == 0:
		cut(len(f.Data))
	}
	if first > 0 && first < len(f.docs) {
		f.behind(&f.docs[first])
	}
}

// bom is the length of a byte order mark.
func (f *File) bom() int {
	if bytes.HasPrefix(f.Data, []byte("\ufeff")) {
		return 3
	}
	return 0
}

func isMarker(line []byte, marker string) bool {
	return len(line) >= 3 && string(line[:3]) == marker &&
		(len(line) == 3 || line[3] == ' ' || line[3] == '\t' || line[3] == '\r')
}

// blank says that a line has no content: white space, or a comment.
func blank(line []byte) bool {
	line = bytes.TrimLeft(line, " \t\r")
	return len(line) == 0 || line[0] == '#'
}

// Bytes are the document's.
func (d *Document) Bytes() []byte { return d.file.Data[d.Start:d.End] }

// text is what of the document is parsed.
func (d *Document) text() []byte {
	if d.json {
		return bytes.TrimRight(d.Bytes(), " \t\r\n") // YAML takes no tab there
	}
	return d.Bytes()
}

// File is the one that the document is in.
func (d *Document) File() *File { return d.file }

// Err is what is wrong with the document, if that is known without parsing it, which says the same.
func (d *Document) Err() error { return d.err }

// Parse reads the document. Its root is no node if there is none. The error is a
// [*manifest.Error]; then there is no tree.
func (d *Document) Parse() (Node, error) {
	if d.err != nil {
		return Node{}, d.err
	}
	if d.root == nil {
		root, err := d.parse()
		if err != nil {
			return Node{}, err
		}
		d.root = root
		d.walk(root, nil, 0, false)
	}
	if d.deep != nil {
		d.root = &v3.Node{}
		return Node{}, d.errorAt(d.offset(d.deep), fmt.Sprintf("nested more than %d deep", manifest.MaxDepth))
	}
	if d.root.Kind != v3.DocumentNode || len(d.root.Content) == 0 {
		return Node{}, nil
	}
	return Node{d.root.Content[0], d, -1}, nil
}

func (d *Document) parse() (root *v3.Node, err error) {
	defer func() {
		// The parser is a stranger's, and so is the file.
		if p := recover(); p != nil {
			root, err = nil, d.errorAt(d.Start, fmt.Sprintf("the YAML parser failed: %v", p))
		}
	}()
	if len(d.Bytes()) > maxDocument {
		return nil, d.errorAt(d.Start, fmt.Sprintf("a document of %d MiB: a definition has at most %d MiB", len(d.Bytes())>>20, maxDocument>>20))
	}
	root = &v3.Node{}
	dec := v3.NewDecoder(bytes.NewReader(d.text()))
	switch err := dec.Decode(root); {
	case errors.Is(err, io.EOF):
		return root, nil
	case err != nil:
		return nil, d.parserError(err)
	}
	// The parser stops where the document ends, and so do most tools.
	if err := dec.Decode(&v3.Node{}); !errors.Is(err, io.EOF) {
		return nil, d.unread(root)
	}
	return root, nil
}

// walk visits every node once: anchors, aliases, keys that are there twice, depth.
func (d *Document) walk(n *v3.Node, path []string, depth int, merge bool) {
	if depth > manifest.MaxDepth {
		if d.deep == nil {
			d.deep = n
		}
		return
	}
	if n.Anchor != "" {
		d.anchors = append(d.anchors, n)
		if d.paths == nil {
			d.paths = map[*v3.Node][]string{}
		}
		d.paths[n] = slices.Clone(path)
	}
	switch n.Kind {
	case v3.AliasNode:
		d.aliases = append(d.aliases, Alias{Node{n, d, 0}, slices.Clone(path), merge})
	case v3.MappingNode:
		if d.braces == nil && (Node{n, d, 0}).IsTemplate() {
			d.braces = n
		}
		d.duplicates(n, path)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			if key.Kind != v3.ScalarNode || key.Anchor != "" {
				d.walk(key, path, depth+1, false)
			}
			if c := n.Content[i+1]; c.Kind != v3.ScalarNode || c.Anchor != "" {
				d.walk(c, append(path, key.Value), depth+1, key.Tag == mergeTag)
			}
		}
	default:
		for i, c := range n.Content {
			if c.Kind == v3.ScalarNode && c.Anchor == "" {
				continue
			}
			next := path
			if n.Kind == v3.SequenceNode && !merge {
				next = append(path, strconv.Itoa(i))
			}
			d.walk(c, next, depth+1, merge)
		}
	}
}

// duplicates looks for keys that are there twice.
func (d *Document) duplicates(n *v3.Node, path []string) {
	var seen map[string]bool
	if len(n.Content) > 64 {
		seen = make(map[string]bool, len(n.Content)/2)
	}
	for i := 0; i < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != v3.ScalarNode || key.Tag == mergeTag {
			continue
		}
		twice := seen[key.Value]
		if seen != nil {
			seen[key.Value] = true
		} else {
			for j := 0; j < i && !twice; j += 2 {
				other := n.Content[j]
				twice = other.Value == key.Value && other.Kind == v3.ScalarNode && other.Tag != mergeTag
			}
		}
		if twice && len(d.dups) < 100 {
			d.dups = append(d.dups, duplicate{key, append(slices.Clone(path), key.Value)})
		}
	}
}

const mergeTag = "!!merge"

// Aliases are where the document refers to anchors.
func (d *Document) Aliases() []Alias { return d.aliases }

// Duplicates are keys that their mappings have already: such a file means different
// things to different readers. The errors are [*manifest.Error].
func (d *Document) Duplicates() []error {
	var errs []error
	for _, dup := range d.dups {
		errs = append(errs, &manifest.Error{At: Node{dup.key, d, 0}.Pos(), Reason: fmt.Sprintf("key %q is there twice", dup.key.Value)})
	}
	return errs
}

// Doubtful says why an edit at path could be misunderstood: a key that leads there, or
// one below, is there twice, or the document is a template. It is nil if all is well.
func (d *Document) Doubtful(path []string) error {
	for _, dup := range d.dups {
		if within(path, dup.path) || within(dup.path, path) {
			return &manifest.Error{At: Node{dup.key, d, 0}.Pos(), Reason: fmt.Sprintf("key %q is there twice, and readers differ in which they take", dup.key.Value)}
		}
	}
	if d.braces != nil {
		return &manifest.Error{At: Node{d.braces, d, unknownIndent}.Pos(), Reason: "the document is a template that is not rendered"}
	}
	return nil
}
