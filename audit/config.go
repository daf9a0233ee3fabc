package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/manifest"
)

// ConfigName is the file that is looked for.
const ConfigName = ".leastcap.yaml"

// A Config is what a project decided for all its audits.
type Config struct {
	// Exceptions are what it decided to live with.
	Exceptions []*Exception
	// Ignore are patterns of files that are not audited, as in .gitignore.
	Ignore []string
	// Rules names the engine that runs the project's containers, "" to infer it.
	Rules string
	// FailOn is the least severity that fails, "" for the default.
	FailOn string
}

// configLine is how the YAML reader says where.
var configLine = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^line (\d+): `) })

// inGo is what the YAML reader says of a field beside its name.
const inGo = " in type struct "

// ParseConfig reads a configuration. What it does not know is an error: a misspelt field
// would be an exception that silently is none.
func ParseConfig(name string, data []byte) (*Config, error) {
	var file struct {
		Exceptions []yaml.Node `yaml:"exceptions"`
		Ignore     []string    `yaml:"ignore"`
		Rules      string      `yaml:"rules"`
		FailOn     yaml.Node   `yaml:"fail-on"`
	}
	fail := func(line, column int, format string, args ...any) error {
		return &manifest.Error{At: manifest.Pos{File: name, Line: line, Column: column}, Reason: fmt.Sprintf(format, args...), Hint: "leastcap audit --help shows a configuration"}
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	err := d.Decode(&file)
	for err == nil {
		var more yaml.Node // an empty document says nothing
		if err = d.Decode(&more); err == nil && more.Content[0].Tag != "!!null" {
			return nil, &manifest.Error{At: manifest.Pos{File: name, Line: more.Content[0].Line, Column: more.Content[0].Column},
				Reason: "this is a second document", Hint: "a configuration is one: leave the --- before it out"}
		}
	}
	if !errors.Is(err, io.EOF) {
		texts := []string{strings.TrimPrefix(err.Error(), "yaml: ")}
		if wrong := (*yaml.TypeError)(nil); errors.As(err, &wrong) {
			texts = wrong.Errors
		}
		var errs []error
		for _, text := range texts {
			line := 0
			if m := configLine().FindStringSubmatch(text); m != nil {
				line, _ = strconv.Atoi(m[1]) // digits
				text = text[len(m[0]):]
			}
			text, _, _ = strings.Cut(text, inGo)
			errs = append(errs, fail(line, 1, "%s", text))
		}
		return nil, errors.Join(errs...)
	}
	c := &Config{Ignore: file.Ignore, Rules: file.Rules}
	if err := file.FailOn.Decode(&c.FailOn); err != nil {
		return nil, fail(file.FailOn.Line, file.FailOn.Column, "fail-on is no word")
	}
	if n := file.FailOn; !n.IsZero() && n.Tag != "!!null" {
		var s Severity
		if err := s.UnmarshalText([]byte(c.FailOn)); err != nil {
			return nil, fail(file.FailOn.Line, file.FailOn.Column, "fail-on: %v", err)
		}
	}
	var errs []error
	for i := range file.Exceptions {
		n := &file.Exceptions[i]
		e, err := parseException(n)
		if err != nil {
			errs = append(errs, fail(n.Line, n.Column, "exception %d: %v", i+1, err))
			continue
		}
		e.At = manifest.Pos{File: name, Line: n.Line, Column: n.Column}
		c.Exceptions = append(c.Exceptions, e)
	}
	return c, errors.Join(errs...)
}

func parseException(n *yaml.Node) (*Exception, error) {
	var in struct {
		Rule         string   `yaml:"rule"`
		File         string   `yaml:"file"`
		Container    string   `yaml:"container"`
		Capability   string   `yaml:"capability"`
		Capabilities []string `yaml:"capabilities"`
		Reason       string   `yaml:"reason"`
		Expires      string   `yaml:"expires"`
	}
	data, err := yaml.Marshal(n)
	if err != nil {
		return nil, err
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true) // which Node.Decode does not have
	if err := d.Decode(&in); err != nil {
		var wrong *yaml.TypeError
		if errors.As(err, &wrong) { // its lines are those of the copy
			_, text, _ := strings.Cut(wrong.Errors[0], ": ")
			text, _, _ = strings.Cut(text, inGo)
			return nil, errors.New(text)
		}
		return nil, err
	}
	e := &Exception{Rule: in.Rule, File: in.File, Container: in.Container, Reason: in.Reason}
	words := in.Capabilities
	if in.Capability != "" {
		words = append(words, in.Capability)
	}
	set, all, err := caps.ParseList(words)
	if err != nil {
		return nil, err
	}
	if all {
		return nil, errors.New("ALL is no capability to make an exception for: leave capability out for whatever the rule finds")
	}
	e.Caps = set
	if in.Expires != "" {
		if e.Expires, err = time.Parse(time.DateOnly, in.Expires); err != nil {
			return nil, fmt.Errorf("expires: %q is no date: write it as 2027-12-31", in.Expires)
		}
	}
	return e, e.check()
}
