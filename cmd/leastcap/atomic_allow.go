package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine/cli"
	"github.com/leastcap/leastcap/engine/rules"
	"github.com/leastcap/leastcap/manifest/label"
	"github.com/leastcap/leastcap/report"
)

// needs is what is known of an image's needs.
type needs struct {
	set    caps.Set
	flags  []string // what else it may ask for, as in [cli.Ask]
	source string
	known  bool // false: it is only the limit where nothing is known
}

// knownNeeds looks where leastcap run looks, for the workload of this line.
func knownNeeds(img *localImage, line *cli.Line) (*needs, error) {
	file, err := saved(img.ID, line)
	if err != nil {
		return nil, err
	}
	if file != "" {
		p, err := readProfile(nil, file)
		if err != nil {
			return nil, err
		}
		n := &needs{set: p.Recommended, source: "profile " + file, known: true}
		// With which flags it was proven, --privileged put into single ones.
		if proven, err := provenLine(p); err == nil {
			for _, ask := range proven.Asks() {
				n.flags = append(n.flags, ask.Flag)
			}
		}
		return n, nil
	}
	docker, err := rules.For("docker")
	if err != nil {
		return nil, err
	}
	if text, ok := img.Config.Labels[labelCaps]; ok {
		n := &needs{source: "its label " + labelCaps, known: true}
		if strings.TrimSpace(text) != "" {
			var all bool
			if n.set, all, err = caps.ParseList([]string{text}); err != nil || all {
				return nil, &usageError{fmt.Errorf("the image's label %s=%q is no list of capabilities", labelCaps, text), "build the image again with one, or with none"}
			}
		}
		// The label is the same stranger's as the one that is judged by it.
		if more := n.set.Minus(docker.Default); !more.Empty() {
			n.set = n.set.Intersect(docker.Default)
			n.source += fmt.Sprintf(", without %v: an image cannot vouch for more than Docker's default", more)
		}
		return n, nil
	}
	return &needs{set: docker.Default, source: "nothing is known of it, and Docker's default is the limit"}, nil
}

// ordinary are the variables whose values a label may have: what it is told anyway, and
// what is no secret. OPT1 to OPT3 are the user's own words.
var ordinary = strings.Fields("NAME IMAGE OPT1 OPT2 OPT3 RUN_OPTS PWD SUDO_UID SUDO_GID CONFDIR LOGDIR DATADIR HOME USER LOGNAME LANG TZ TERM HOSTNAME")

// judge shows what a label's line asks for, and refuses what is more than is known to
// be needed.
func (a *atomicCall) judge(which string, u *understood, img *localImage, c *label.Command) error {
	var (
		asks []cli.Ask
		set  caps.Set
		n    = &needs{source: "a label may touch its own container only"}
		err  error
	)
	if u.other != nil {
		asks = u.other.Asks(a.name)
	} else {
		if n, err = knownNeeds(img, u.line); err != nil {
			return err
		}
		asks = u.line.Asks()
		if set, err = a.capabilities(u.line, img); err != nil {
			return err
		}
		if other := u.line.Image; other != a.image && strings.TrimPrefix(other, "sha256:") != strings.TrimPrefix(img.ID, "sha256:") {
			asks = append(asks, cli.Ask{Flag: "image " + other, Why: "that is another image than " + a.image})
		}
	}
	for _, v := range c.Used {
		asks = append(asks, cli.Ask{Flag: "${" + v + "}", Why: "the value of a variable of your environment", Variable: v})
	}
	if a.opts != "" && slices.Contains(c.Used, "RUN_OPTS") {
		asks = append(asks, cli.Ask{Flag: "${RUN_OPTS}", Why: "the contents of " + a.opts})
	}
	asks = slices.DeleteFunc(asks, func(ask cli.Ask) bool { return slices.Contains(ordinary, ask.Variable) })

	var excess []string
	for _, ask := range asks {
		if !slices.Contains(n.flags, ask.Flag) {
			excess = append(excess, ask.Flag)
		}
	}
	more := set.Minus(n.set)
	if !more.Empty() && !(u.line != nil && u.line.Privileged()) {
		excess = append(excess, fmt.Sprintf("%s %v", plural(more.Len(), "capability", "capabilities"), more))
	}
	refused := len(excess) > 0 && !a.flags.allow
	if !a.flags.quiet || refused {
		a.show(which, u, set, asks)
	}
	if len(excess) == 0 || a.flags.allow {
		return nil
	}
	text := fmt.Sprintf("more than %s is known to need (%s): %s", a.image, n.source, strings.Join(excess, ", "))
	if a.flags.display {
		say(a.stderr, "warning: without --allow this is refused: %s", text)
		return nil
	}
	say(a.stderr, "error: refused: label %s asks for %s", which, text)
	hint := "if you trust the image with it, --allow"
	switch {
	case u.line == nil:
	case n.known && len(excess) == 1 && !more.Empty():
		hint += "; with what it is known to need: " + report.Clean(cli.Quote(u.line.Run(&n.set, nil)), 300)
	default:
		hint += "; to find out what it needs: leastcap learn -- " + report.Clean(cli.Quote(u.words), 300)
	}
	say(a.stderr, "hint: %s", hint)
	return status(exitFindings)
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// capabilities is what the engine would give.
func (a *atomicCall) capabilities(line *cli.Line, img *localImage) (caps.Set, error) {
	name := a.engine
	if name == "nerdctl" {
		name = "docker" // pkg/cmd/container/run_security_linux.go: the same rules
	}
	r, err := rules.For(name)
	if err != nil {
		return 0, err
	}
	in := rules.Request{Add: line.CapAdd(), Drop: line.CapDrop(), Privileged: line.Privileged(), User: line.User()}
	if text, ok := img.Config.Labels[labelCaps]; ok {
		in.Label = &text
	}
	result, err := r.Apply(in)
	if err != nil {
		return 0, &usageError{err, "run by hand what the label means"}
	}
	return result.Set, nil
}

// show says what a label asks for.
func (a *atomicCall) show(which string, u *understood, set caps.Set, asks []cli.Ask) {
	if u.line == nil && len(asks) == 0 {
		return
	}
	say(a.stderr, "label %s of %s asks for:", which, a.image)
	if u.line != nil {
		text := "none"
		switch {
		case u.line.Privileged():
			text = "all"
		case !set.Empty():
			text = set.String()
		}
		fmt.Fprintf(a.stderr, "  %-24s %s\n", "capabilities", text)
	}
	for _, ask := range asks {
		fmt.Fprintf(a.stderr, "  %-24s %s\n", report.Clean(ask.Flag, 120), report.Clean(ask.Why, 200))
	}
}
