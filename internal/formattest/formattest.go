// Package formattest holds what every format of package manifest must do, as tests: it
// never breaks, no wants change no byte, an edit makes a container what it should be and
// touches nothing else, and a second run finds nothing to do.
package formattest

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/manifest"
)

// EditAll makes the changes, and looks at what became of the source's own file: that line
// ends are what they were, that every byte outside of the edits is, and that the same
// changes find nothing to do afterwards. The result is all files that changed.
func EditAll(t testing.TB, f *manifest.Format, src manifest.Source, changes []manifest.Change) ([]manifest.FileChange, []*manifest.Refusal) {
	t.Helper()
	files, refused, err := manifest.Rewrite(f, src, changes)
	if err != nil {
		t.Errorf("%s: %v\n%s", src.Name, err, src.Data)
		return nil, refused
	}
	for _, c := range files {
		checkBytes(t, c)
	}
	after := manifest.Overlay(src, files)
	list, _ := f.Parse(after)
	var again []manifest.Change
	for _, c := range changes {
		if slices.ContainsFunc(refused, func(r *manifest.Refusal) bool { return r.Container == c.Container }) {
			continue
		}
		i := slices.IndexFunc(list, func(n *manifest.Container) bool { return n.Path == c.Container.Path })
		if i < 0 {
			t.Errorf("%s: %s is gone", src.Name, c.Container.Path)
			continue
		}
		c.Want.Correct, c.Want.Remove = nil, nil // they name places of the file as it was
		again = append(again, manifest.Change{Container: list[i], Want: c.Want})
	}
	if files, refused, err := manifest.Rewrite(f, after, again); len(files) > 0 || len(refused) > 0 || err != nil {
		t.Errorf("%s: a second run changes %d files, refuses %v: %v", src.Name, len(files), refused, err)
	}
	return files, refused
}

// checkBytes compares what is outside of the edits, and the line ends.
func checkBytes(t testing.TB, c manifest.FileChange) {
	t.Helper()
	at, to := 0, 0
	for _, e := range c.Edits {
		n := e.Start - at
		if to+n > len(c.After) || !bytes.Equal(c.Before[at:e.Start], c.After[to:to+n]) {
			t.Errorf("%s: bytes before %d changed", c.Name, e.Start)
			return
		}
		at, to = e.End, to+n+len(e.New)
	}
	if !bytes.Equal(c.Before[at:], c.After[to:]) {
		t.Errorf("%s: bytes behind the last edit changed", c.Name)
	}
	all := func(b []byte) bool { return bytes.Count(b, []byte("\n")) == bytes.Count(b, []byte("\r\n")) }
	if bytes.Contains(c.Before, []byte("\n")) && all(c.Before) != all(c.After) {
		t.Errorf("%s: line ends changed:\n%q", c.Name, c.After)
	}
}

// Fuzz is the body of a format's fuzz test: mask are the capabilities that all containers
// shall have, engine the one whose rules say whether they do.
func Fuzz(t *testing.T, f *manifest.Format, src manifest.Source, mask uint64, more bool, engine string) {
	f.Recognise(src.Name, src.Data)
	list, err := f.Parse(src)
	for _, e := range manifest.Errors(err) {
		checkPos(t, src, e.At)
	}
	exactly := caps.Set(mask).Intersect(caps.All())
	var none, all []manifest.Change
	for _, c := range list {
		checkPlaces(t, src, c)
		none = append(none, manifest.Change{Container: c})
		all = append(all, manifest.Change{Container: c, Want: manifest.Want{Exactly: &exactly, NoNewPrivs: more, Unprivileged: more}})
		c.Given("")
	}
	if files, refused, err := manifest.Rewrite(f, src, none); len(files) > 0 || err != nil {
		t.Fatalf("no wants, and %d files change, %v, %v", len(files), refused, err)
	}
	files, refused, err := manifest.Rewrite(f, src, all)
	if err != nil {
		t.Logf("not made: %v", err)
		return
	}
	for _, c := range files {
		checkBytes(t, c)
	}
	is, _ := f.Parse(manifest.Overlay(src, files))
	for i, c := range is {
		if slices.ContainsFunc(refused, func(r *manifest.Refusal) bool { return r.Container == list[i] }) {
			continue
		}
		if got, err := c.Given(engine); err == nil && !manifest.Is(c.Privileged, true) && got.Set != exactly {
			t.Fatalf("%s gets %v, not %v", c.Path, got.Set, exactly)
		}
	}
}

func checkPos(t *testing.T, src manifest.Source, p manifest.Pos) {
	if p.File == src.Name && (p.Start > p.End || p.End > len(src.Data)) {
		t.Fatalf("%+v is outside of the file", p)
	}
}

// checkPlaces: every word is where it is said to be, in quotes perhaps; one that is
// written with escapes, over lines or somewhere else is left out.
func checkPlaces(t *testing.T, src manifest.Source, c *manifest.Container) {
	checkPos(t, src, c.At)
	for _, r := range c.Caps {
		p := r.Word.At
		checkPos(t, src, p)
		if p.File != src.Name || r.Word.State != manifest.Known || r.Word.V != r.Word.Raw || !isName(r.Word.V) {
			continue
		}
		text := string(bytes.Trim(src.Data[p.Start:p.End], `"'`))
		if text != r.Word.V && !bytes.ContainsAny(src.Data[p.Start:p.End], "\\*|>") {
			t.Fatalf("%q is at %q", r.Word.V, text)
		}
	}
}

// isName says that it is spelled like a capability.
func isName(s string) bool {
	return s != "" && len(bytes.Trim([]byte(s), "ABCDEFGHIJKLMNOPQRSTUVWXYZ_")) == 0
}

// RandomChanges wants something of most containers: a set, or other words and fewer.
func RandomChanges(r *rand.Rand, list []*manifest.Container) []manifest.Change {
	sets := []caps.Set{0, caps.Of(caps.Chown), caps.Of(caps.Chown, caps.Kill, caps.NetBindService)}
	var changes []manifest.Change
	for _, c := range list {
		if r.IntN(5) == 0 {
			continue
		}
		w := manifest.Want{NoNewPrivs: r.IntN(2) == 0, Unprivileged: true}
		if r.IntN(4) > 0 {
			w.Exactly = &sets[r.IntN(len(sets))]
		} else {
			for _, req := range c.Caps {
				switch r.IntN(3) {
				case 0:
					w.Remove = append(w.Remove, req.Word.At)
				case 1:
					w.Correct = append(w.Correct, manifest.Correction{At: req.Word.At, Word: "SETUID"})
				}
			}
		}
		changes = append(changes, manifest.Change{Container: c, Want: w})
	}
	return changes
}
