package caps

// suggest returns the capability's name nearest to s, or "" if none is near.
func suggest(s string) string { return Nearest(bareName(s), names[:]) }

// Nearest returns the one of names that s was most likely meant to be, or "" if
// none is near: at most one slip (a letter missing, added, wrong, or two
// exchanged) for every three letters of the name, and never more than three. Of
// two that are equally near the first wins. Case matters.
func Nearest(s string, names []string) string {
	best, bestDistance := "", 4
	for _, name := range names {
		if d := distance(s, name); d < bestDistance && d <= len(name)/3 {
			best, bestDistance = name, d
		}
	}
	return best
}

// distance is the optimal string alignment distance of a and b in bytes:
// insertions, deletions, substitutions and exchanges of neighbours count one
// each.
func distance(a, b string) int {
	// An answer this far off is of no use, and a is the user's: keep the work
	// small however long it is.
	if len(a) > 2*len(b) {
		return len(a)
	}
	// Three rows of the usual matrix: the two before, and the present one.
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			substitute := last[j-1]
			if a[i-1] != b[j-1] {
				substitute++
			}
			row[j] = min(last[j]+1, row[j-1]+1, substitute)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
