package words

import (
	"strings"
	"testing"
)

// What the parser recurses on without a limit is refused before it can fill the stack,
// which nothing recovers from.
func TestDeep(t *testing.T) {
	for _, s := range []string{"( ", "$(", "\"$(", "${a:-", "$((", "((", "a[", "$[", "{ ", "if ", "if\n", "while ", "`", "<(", "@(a|", "[[ a =~ (", "function a ", "coproc "} {
		_, err := Parse(Whole([]byte(strings.Repeat(s, MaxSize/len(s))), 0), nil)
		if err == nil || !strings.Contains(err.Error(), "nested deeper") {
			t.Errorf("%q: %v", s, err)
		}
	}
	// Each of these has the text of those in it.
	s := strings.Repeat("$(echo ", 300) + strings.Repeat("b", MaxSize/2) + strings.Repeat(")", 300)
	if _, err := Parse(Whole([]byte("a "+s), 0), nil); err == nil || !strings.Contains(err.Error(), "substitutions nested so deep") {
		t.Error(err)
	}
	// Real nesting is far from the limit.
	if _, err := Parse(Whole([]byte(strings.Repeat("if a; then ", 500)+"b"+strings.Repeat("; fi", 500)), 0), nil); err != nil {
		t.Error(err)
	}
}
