package caps

import (
	"fmt"
	"strconv"
	"strings"
)

// Words that stand for whole sets.
const (
	all  = "all"
	none = "none"
)

// ParseSet reads a list of capabilities, separated by commas, semicolons or
// white space. Its elements are joined; each is the first of these that fits:
//
//	all, ALL, CAP_ALL     every known capability, [All]
//	0x2400                a mask of 1 to 16 hexadecimal digits
//	net_raw, CAP_NET_RAW  a name, in any case
//	13                    a number, 0 to 63, of one or two decimal digits
//	a80425fb              a mask of 8 to 16 hexadecimal digits, as in
//	                      /proc/PID/status (no name looks like one)
//
// So digits alone are a capability's number if there are one or two of them
// ("12" is net_admin) and a mask if there are eight or more ("00000012" is
// dac_override and fsetid). Between the two, and with a leading zero ("007"),
// they are refused rather than guessed at. Write 0x to be sure.
//
// "none" or nothing at all is the empty set; "none" beside other elements is
// an error. An unknown name is an [*UnknownError].
func ParseSet(s string) (Set, error) {
	words := strings.FieldsFunc(s, isSeparator)
	var set Set
	for _, word := range words {
		if strings.EqualFold(word, none) {
			if len(words) > 1 {
				return 0, fmt.Errorf("capabilities %q: %q goes with no other", s, none)
			}
			return 0, nil
		}
		part, err := parseElement(word)
		if err != nil {
			return 0, err
		}
		set = set.Union(part)
	}
	return set, nil
}

func isSeparator(r rune) bool {
	return r == ',' || r == ';' || r == ' ' || (r >= '\t' && r <= '\r')
}

func parseElement(word string) (Set, error) {
	if isAll(word) {
		return All(), nil
	}
	if mask, ok := parseMask(word); ok {
		return mask, nil
	}
	c, err := ParseCap(word)
	if err != nil {
		return 0, err
	}
	return Of(c), nil
}

func isAll(word string) bool { return bareName(word) == all }

// parseMask reads "0x" and 1 to 16 hexadecimal digits, or 8 to 16 without it.
func parseMask(word string) (Set, bool) {
	digits, least := word, 8
	if len(word) > 2 && (word[:2] == "0x" || word[:2] == "0X") {
		digits, least = word[2:], 1
	}
	if len(digits) < least || len(digits) > 16 {
		return 0, false
	}
	mask, err := strconv.ParseUint(digits, 16, 64)
	return Set(mask), err == nil
}

// ParseList reads the values of --cap-add or --cap-drop: each is a capability
// as [ParseCap] takes it, or ALL (CAP_ALL, in any case), or, as Podman allows,
// several of these with commas between them.
//
// ALL is reported apart, since its meaning is the engine's; the set holds the
// capabilities that were named beside it. Masks are not accepted here, nor by
// any engine. An empty or unknown name is an [*UnknownError].
func ParseList(values []string) (set Set, all bool, err error) {
	for _, value := range values {
		for word := range strings.SplitSeq(value, ",") {
			word = strings.TrimSpace(word)
			if isAll(word) {
				all = true
				continue
			}
			c, err := ParseCap(word)
			if err != nil {
				return 0, false, err
			}
			set = set.With(c)
		}
	}
	return set, all, nil
}
