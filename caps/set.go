package caps

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math/bits"
	"strings"
)

// Set is a set of capabilities: bit n is capability n, as in the kernel and in
// /proc/PID/status. The zero value is empty. Bits that have no name here
// survive every operation.
//
// A Set is a value: no method changes its receiver, but UnmarshalJSON.
type Set uint64

// Of returns the set of the given capabilities. Numbers above 63 fit no set
// and are left out.
func Of(cs ...Cap) Set { return Set(0).With(cs...) }

// All returns every capability that has a name here.
func All() Set { return UpTo(Last) }

// UpTo returns the capabilities from 0 to last, both included: all that a
// kernel has whose /proc/sys/kernel/cap_last_cap is last.
func UpTo(last Cap) Set {
	if last >= maxCap {
		return ^Set(0)
	}
	return 1<<(last+1) - 1
}

// Has reports whether c is in the set.
func (s Set) Has(c Cap) bool { return s&(1<<c) != 0 }

// With returns the set and the given capabilities.
func (s Set) With(cs ...Cap) Set {
	for _, c := range cs {
		s |= 1 << c
	}
	return s
}

// Without returns the set without the given capabilities.
func (s Set) Without(cs ...Cap) Set { return s.Minus(Of(cs...)) }

// Union returns what is in either set.
func (s Set) Union(t Set) Set { return s | t }

// Minus returns what is in s and not in t.
func (s Set) Minus(t Set) Set { return s &^ t }

// Intersect returns what is in both sets.
func (s Set) Intersect(t Set) Set { return s & t }

// SubsetOf reports whether t has everything that s has.
func (s Set) SubsetOf(t Set) bool { return s&^t == 0 }

// Empty reports whether nothing is in the set.
func (s Set) Empty() bool { return s == 0 }

// Len returns the number of capabilities in the set.
func (s Set) Len() int { return bits.OnesCount64(uint64(s)) }

// Values yields the capabilities in ascending order.
func (s Set) Values() iter.Seq[Cap] {
	return func(yield func(Cap) bool) {
		for rest := uint64(s); rest != 0; rest &= rest - 1 {
			if !yield(Cap(bits.TrailingZeros64(rest))) {
				return
			}
		}
	}
}

// Caps returns the capabilities in ascending order; never nil.
func (s Set) Caps() []Cap {
	cs := make([]Cap, 0, s.Len())
	for c := range s.Values() {
		cs = append(cs, c)
	}
	return cs
}

// Names returns the kernel's spellings ("CAP_CHOWN") in ascending order of
// number; never nil.
func (s Set) Names() []string { return s.spell(Cap.Name) }

// Docker returns the spellings of container engines and Kubernetes ("CHOWN")
// in ascending order of number; never nil.
func (s Set) Docker() []string { return s.spell(Cap.Docker) }

// String returns "chown,setuid", in ascending order of number, or "none".
// [ParseSet] reads it back.
func (s Set) String() string {
	if s.Empty() {
		return none
	}
	return strings.Join(s.spell(Cap.String), ",")
}

// Brief lists a set for people: "chown, setuid", "none", and one that has nearly all by what it
// has not, "all but sys_resource".
func (s Set) Brief() string {
	const few = 10
	switch missing := All().Minus(s); {
	case s.Empty():
		return none
	case s == All():
		return "all"
	case missing.Len() < few && s.SubsetOf(All()):
		return "all but " + strings.Join(missing.spell(Cap.String), ", ")
	}
	return strings.Join(s.spell(Cap.String), ", ")
}

func (s Set) spell(as func(Cap) string) []string {
	words := make([]string, 0, s.Len())
	for c := range s.Values() {
		words = append(words, as(c))
	}
	return words
}

// Hex returns the mask as /proc/PID/status shows it: 16 lower-case digits
// without "0x". [ParseSet] reads it back.
func (s Set) Hex() string { return fmt.Sprintf("%016x", uint64(s)) }

// MarshalJSON writes an array of the kernel's names in ascending order of
// number: ["CAP_CHOWN","47"]. The empty set is [], never null.
func (s Set) MarshalJSON() ([]byte, error) { return json.Marshal(s.Names()) }

// UnmarshalJSON reads an array of strings, each as [ParseCap] takes it. null
// is an error: a set that is not there must not read as an empty one.
func (s *Set) UnmarshalJSON(data []byte) error {
	if bytes.Equal(bytes.TrimSpace(data), []byte("null")) {
		return errors.New("capabilities: null is no set, want an array of names")
	}
	var words []string
	if err := json.Unmarshal(data, &words); err != nil {
		return fmt.Errorf("capabilities: want an array of names: %w", err)
	}
	var parsed Set
	for _, word := range words {
		c, err := ParseCap(word)
		if err != nil {
			return err
		}
		parsed = parsed.With(c)
	}
	*s = parsed
	return nil
}
