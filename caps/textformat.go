package caps

import (
	"slices"
	"strings"
)

// flags is a combination of the three sets that one capability is in. The
// numbers are libcap's (1 << CAP_EFFECTIVE and so on, libcap/libcap.h): they
// decide the order of the clauses.
type flags uint8

const (
	flagE flags = 1 << iota
	flagP
	flagI

	flagCombinations = 1 << iota
)

// String returns the letters in the order in which libcap writes them.
func (f flags) String() string {
	return [flagCombinations]string{"", "e", "p", "ep", "i", "ei", "ip", "eip"}[f]
}

// groups returns, for each combination of flags, the capabilities of within
// that are in exactly these sets.
func (t Text) groups(within Set) [flagCombinations]Set {
	var groups [flagCombinations]Set
	for c := range within.Values() {
		var f flags
		if t.Effective.Has(c) {
			f |= flagE
		}
		if t.Permitted.Has(c) {
			f |= flagP
		}
		if t.Inheritable.Has(c) {
			f |= flagI
		}
		groups[f] = groups[f].With(c)
	}
	return groups
}

// String writes what cap_to_text(3) writes (libcap 2.66 on a kernel with the
// capabilities that are known here): "cap_chown,cap_kill=ep", "=ep
// cap_sys_admin-e", "=" when empty. [ParseText] reads it back.
//
// The combination of flags that most known capabilities share comes first, as
// "=flags" for all of them; then one clause a combination for those that
// differ, and last the capabilities without a name, by number.
func (t Text) String() string {
	known := t.groups(All())
	common := flags(0) // of equally large groups the one with the lower flags
	for f := range known {
		if known[f].Len() > known[common].Len() {
			common = flags(f)
		}
	}

	var clauses []string
	for i, set := range slices.Backward(known[:]) {
		f := flags(i)
		if f == common || set.Empty() {
			continue
		}
		clause := textNames(set)
		switch raise := f &^ common; {
		case raise != 0 && common == 0 && len(clauses) == 0:
			// Nothing stands before this clause: "=" says the same as a
			// leading "=" and "+", and is shorter.
			clause += "=" + raise.String()
		case raise != 0:
			clause += "+" + raise.String()
		}
		if lower := common &^ f; lower != 0 {
			clause += "-" + lower.String()
		}
		clauses = append(clauses, clause)
	}
	if common != 0 || len(clauses) == 0 {
		clauses = slices.Insert(clauses, 0, "="+common.String())
	}

	unnamed := t.groups(^All())
	for i, set := range slices.Backward(unnamed[:]) {
		if f := flags(i); f != 0 && !set.Empty() {
			clauses = append(clauses, textNames(set)+"+"+f.String())
		}
	}
	return strings.Join(clauses, " ")
}

// textNames writes a list with libcap's spelling: "cap_chown,47".
func textNames(s Set) string { return strings.ToLower(strings.Join(s.Names(), ",")) }
