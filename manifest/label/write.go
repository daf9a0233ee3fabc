package label

import (
	"fmt"
	"slices"
	"strings"
)

// Image and Name in words given to [Format] stand for the variables.
const (
	ImageVariable = "${IMAGE}"
	NameVariable  = "${NAME}"
)

// Format is the inverse of [Parse]: the text of a label whose words these are. The words
// ${IMAGE} and ${NAME} are the variables. A word with another $, or with several spaces
// in a row, cannot be said in a label.
func Format(words []string) (string, error) {
	var list []string
	expected := slices.Clone(words)
	env := map[string]string{"IMAGE": "image", "NAME": "name"}
	for i, w := range words {
		switch {
		case w == ImageVariable || w == NameVariable:
			list = append(list, w)
			expected[i] = env[w[2:len(w)-1]]
		case w == "" || strings.ContainsFunc(w, special):
			list = append(list, "'"+strings.ReplaceAll(w, "'", `'"'"'`)+"'")
		case w == "IMAGE" || w == "NAME" || w == "IMAGE=IMAGE" || w == "NAME=NAME":
			list = append(list, "'"+w+"'")
		default:
			list = append(list, w)
		}
	}
	text := strings.Join(list, " ")
	c, err := Parse(text, env, nil)
	if err != nil || len(c.Lost) > 0 || !slices.Equal(c.Words, expected) {
		return "", &Error{fmt.Sprintf("a label cannot say %q: its words may have no $ and no runs of spaces", words), "leave those words out"}
	}
	return text, nil
}

// special: not one of the characters that shlex.quote leaves alone.
func special(r rune) bool {
	return !isName(r) && !strings.ContainsRune("@%+=:,./-", r)
}
