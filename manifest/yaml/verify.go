package yaml

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	goccy "github.com/goccy/go-yaml"
	v3 "go.yaml.in/yaml/v3"

	"github.com/leastcap/leastcap/manifest"
)

// maxNodes is how many nodes a document may have once every alias is replaced by what it
// stands for. An alias bomb has more than there are atoms.
const maxNodes = 1 << 20

// Verify reads both files with a parser that has nothing in common with the one behind
// [Document.Parse], and says where their meaning differs, if allowed does not agree.
// Documents are counted from 1, those of a stream of JSON, too. Ones whose bytes are the same
// mean the same.
func Verify(before, after manifest.Source, allowed func(document int, path []string) bool) error {
	was, err := ReadStream(before)
	if err != nil {
		return err
	}
	is, err := ReadStream(after)
	if err != nil {
		return err
	}
	if len(was.docs) != len(is.docs) {
		return fmt.Errorf("%d documents have become %d", len(was.docs), len(is.docs))
	}
	for i := range was.docs {
		if bytes.Equal(was.docs[i].Bytes(), is.docs[i].Bytes()) {
			continue
		}
		a, err := second(&was.docs[i])
		if err != nil {
			return err
		}
		b, err := second(&is.docs[i])
		if err != nil {
			return err
		}
		if path := difference(a, b, nil, func(path []string) bool { return allowed(i+1, path) }); path != nil {
			return fmt.Errorf("document %d: %s would change, too", i+1, strings.Join(path, "."))
		}
	}
	return nil
}

// second is a document as the second parser sees it, with anchors and merges resolved.
func second(d *Document) (value any, err error) {
	if _, err := d.Parse(); err != nil {
		return nil, err
	}
	if size(d.root, map[*v3.Node]int{}) >= maxNodes {
		return nil, d.errorAt(d.Start, "its aliases stand for more than can be looked at")
	}
	defer func() {
		if p := recover(); p != nil {
			value, err = nil, d.errorAt(d.Start, fmt.Sprintf("the second YAML parser failed: %v", p))
		}
	}()
	data := bytes.TrimPrefix(d.text(), []byte("\ufeff"))
	if err := goccy.UnmarshalWithOptions(data, &value, goccy.AllowDuplicateMapKey()); err != nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		return nil, d.errorAt(d.Start, "a second YAML parser does not understand it: "+first)
	}
	return value, nil
}

// size counts nodes with aliases replaced, up to maxNodes.
func size(n *v3.Node, known map[*v3.Node]int) int {
	if s, ok := known[n]; ok {
		return s
	}
	known[n] = maxNodes // what contains itself has no end
	total := 1
	if n.Kind == v3.AliasNode {
		total = size(n.Alias, known)
	}
	for _, c := range n.Content {
		if total += size(c, known); total >= maxNodes {
			return maxNodes
		}
	}
	known[n] = total
	return total
}

// difference is the first path where two values differ and that is not allowed to.
func difference(a, b any, path []string, allowed func([]string) bool) []string {
	if allowed(path) {
		return nil
	}
	switch x := a.(type) {
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok {
			break
		}
		keys := map[string]bool{}
		for k := range x {
			keys[k] = true
		}
		for k := range y {
			keys[k] = true
		}
		for _, k := range slices.Sorted(maps.Keys(keys)) {
			next := append(slices.Clip(path), k)
			_, inX := x[k]
			_, inY := y[k]
			if inX != inY {
				if !allowed(next) {
					return next
				}
				continue
			}
			if d := difference(x[k], y[k], next, allowed); d != nil {
				return d
			}
		}
		return nil
	case []any:
		y, ok := b.([]any)
		if !ok || len(x) != len(y) {
			break
		}
		for i := range x {
			if d := difference(x[i], y[i], append(slices.Clip(path), strconv.Itoa(i)), allowed); d != nil {
				return d
			}
		}
		return nil
	default:
		nan := func(v any) bool { f, ok := v.(float64); return ok && math.IsNaN(f) }
		if reflect.DeepEqual(a, b) || nan(a) && nan(b) {
			return nil
		}
	}
	if path == nil {
		return []string{"all of it"}
	}
	return path
}
