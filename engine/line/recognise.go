package line

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/pflag"
)

// engines are the command lines that this package understands.
var engines = []string{"docker", "podman", "nerdctl"}

// Recognise tells which engine's command line argv is: docker, podman or
// nerdctl, by the base name of the program. It does not say that the line can
// be learned from; [Parse] does.
//
// sudo, doas and env in front (with their flags and NAME=VALUE words) are
// followed; they stay in front of whatever a [Line] is rewritten to. If such a
// wrapper is used in a way that cannot be followed (env -S, sudo -e) and an
// engine's name comes after it, the line is recognised and Parse gives the
// error. Behind any other program the line is not a container's.
func Recognise(argv []string) (engine string, ok bool) {
	_, engine, _ = locate(argv)
	return engine, engine != ""
}

// locate finds the engine's program among the words. With an error, engine is
// set all the same and at is the wrapper that could not be followed.
func locate(argv []string) (at int, engine string, err error) {
	for at < len(argv) {
		base := path.Base(argv[at])
		if slices.Contains(engines, base) {
			return at, base, nil
		}
		flags, ok := wrappers()[base]
		if !ok {
			return at, "", nil
		}
		n, err := skipWrapper(base, flags, argv[at+1:])
		if err != nil {
			engine := mentioned(argv[at+1:])
			if engine == "" {
				return at, "", nil
			}
			return at, engine, &Error{
				Word: argv[at], At: at, Err: err,
				Reason: fmt.Sprintf("cannot follow %s to the command it runs: %v", argv[at], err),
				Hint:   fmt.Sprintf("give the %s line itself, or only simple flags of %s", engine, base),
			}
		}
		at += 1 + n
	}
	return at, "", nil
}

// mentioned returns the first engine that one of the words names.
func mentioned(words []string) string {
	for _, word := range words {
		for field := range strings.FieldsSeq(word) {
			if base := path.Base(field); slices.Contains(engines, base) {
				return base
			}
		}
	}
	return ""
}

// wrappers are the programs that are followed, with those of their flags after
// which a command still follows and runs in the foreground. Sources: sudo(8)
// 1.9, doas(1) 6.8, env(1) of coreutils 9.
var wrappers = sync.OnceValue(func() map[string][]FlagSpec {
	return map[string][]FlagSpec{
		"sudo": wrapperFlags(
			"A/askpass B/bell E/ H/set-home k/reset-timestamp i/login n/non-interactive N/no-update P/preserve-groups S/stdin s/shell",
			"a/auth-type c/login-class C/close-from D/chdir g/group h/host p/prompt r/role R/chroot T/command-timeout t/type u/user",
			FlagSpec{Name: "preserve-env", NoOpt: "all"}),
		"doas": wrapperFlags("n/", "a/ u/"),
		"env": wrapperFlags("i/ignore-environment v/debug", "C/chdir u/unset a/argv0",
			FlagSpec{Name: "block-signal", NoOpt: "all"},
			FlagSpec{Name: "default-signal", NoOpt: "all"},
			FlagSpec{Name: "ignore-signal", NoOpt: "all"}),
	}
})

// wrapperFlags reads "x/long" pairs; the long name may be missing.
func wrapperFlags(booleans, valued string, more ...FlagSpec) []FlagSpec {
	read := func(pairs, noOpt string) {
		for pair := range strings.FieldsSeq(pairs) {
			short, long, _ := strings.Cut(pair, "/")
			if long == "" {
				long = "." + short // no such flag can be typed by its long name
			}
			more = append(more, FlagSpec{Name: long, Short: short, NoOpt: noOpt})
		}
	}
	read(booleans, "true")
	read(valued, "")
	return more
}

// assignment is a NAME=VALUE word, as env and sudo take them.
var assignment = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=`)
})

// skipWrapper counts the words of a wrapper before the command that it runs.
func skipWrapper(wrapper string, flags []FlagSpec, words []string) (int, error) {
	fs := newFlagSet(flags, false, nil)
	help := false
	err := fs.ParseAll(words, func(f *pflag.Flag, _ string) error {
		help = help || f.Name == helpSpec.Name
		return nil
	})
	if err != nil {
		return 0, err
	}
	if help {
		return 0, fmt.Errorf("--help runs no command")
	}
	n := len(words) - fs.NArg()
	if wrapper == "env" && n < len(words) && words[n] == "-" { // is -i
		n++
	}
	for wrapper != "doas" && n < len(words) && assignment().MatchString(words[n]) {
		n++
	}
	return n, nil
}
