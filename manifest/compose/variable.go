package compose

import (
	"errors"
	"strings"

	"github.com/compose-spec/compose-go/v2/template"

	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/yaml"
)

// text is a scalar with its variables put in. Where one has no value and no default,
// Compose would put in nothing; what a deployment would, nobody knows, so neither does
// the fact.
func (f *file) text(n yaml.Node) manifest.Text { return f.fill(n.Text()) }

// fill puts variables in.
func (f *file) fill(t manifest.Text) manifest.Text {
	if t.State != manifest.Known || strings.IndexByte(t.V, '$') < 0 {
		return t
	}
	v, why := f.substitute(t.V)
	if why != "" {
		t.State, t.V, t.Why = manifest.Unknown, "", why
		return t
	}
	t.V = v
	return t
}

// substitute is compose-go's, and says which variable had no value.
func (f *file) substitute(s string) (value, why string) {
	missing := ""
	replace := func(part string, mapping template.Mapping, cfg *template.Config) (string, error) {
		v, applied, err := template.DefaultReplacementAppliedFunc(part, mapping, cfg)
		if err == nil && !applied && missing == "" {
			missing = part
		}
		return v, err
	}
	value, err := template.SubstituteWithOptions(s, f.env, template.WithoutLogging, template.WithReplacementFunction(replace))
	var required *template.MissingRequiredError
	switch {
	case errors.As(err, &required):
		return "", required.Error()
	case err != nil:
		return "", strings.ToLower(err.Error()[:1]) + err.Error()[1:]
	case missing != "":
		return "", "the variable " + missing + " has no value"
	}
	return value, ""
}

// truth is a scalar that is true or false (compose-go loader/interpolate.go toBoolean:
// in any case, also y, yes, on, n, no and off, and in quotes).
func (f *file) truth(n yaml.Node) manifest.Bool {
	t := f.text(n)
	b := manifest.Bool{State: t.State, Raw: t.Raw, Why: t.Why, At: t.At}
	if t.State != manifest.Known {
		return b
	}
	switch strings.ToLower(t.V) {
	case "true", "y", "yes", "on":
		b.V = true
	case "false", "n", "no", "off":
	default:
		b.State, b.Why = manifest.Unknown, "it is neither true nor false"
	}
	return b
}
