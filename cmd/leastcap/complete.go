package main

import (
	"context"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/caps/catalog"
	"github.com/leastcap/leastcap/engine/cli"
	"github.com/leastcap/leastcap/engine/rules"
	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/report"
)

// What a shell offers when Tab is pressed. Descriptions stand behind a tab.

// completeTimeout is how long a person waits for Tab.
const completeTimeout = time.Second

const noFiles = cobra.ShellCompDirectiveNoFileComp

// completeFlag completes a flag with the words of a list, or, where they have commas
// between them, the last of the words.
func completeFlag(cmd *cobra.Command, flag string, words func() []string) {
	err := cmd.RegisterFlagCompletionFunc(flag, func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		return completeLast(typed, words()), noFiles
	})
	if err != nil {
		panic(err) // a flag that the command does not have
	}
}

// completeLast puts what stands before the last comma in front of each word that fits.
func completeLast(typed string, words []string) []string {
	before, last := "", typed
	if i := strings.LastIndexByte(typed, ','); i >= 0 {
		before, last = typed[:i+1], typed[i+1:]
	}
	var fit []string
	for _, w := range words {
		if strings.HasPrefix(w, strings.ToLower(last)) || strings.HasPrefix(w, last) {
			if before != "" {
				// cobra's script for bash quotes words that have descriptions before it
				// compares them, and bash quotes commas: none would fit.
				w, _, _ = strings.Cut(w, "\t")
			}
			fit = append(fit, before+w)
		}
	}
	return fit
}

// capWords are the names of all capabilities, with what they grant.
func capWords() []string {
	var words []string
	for _, e := range catalog.All() {
		words = append(words, e.Cap.String()+"\t"+e.Grants)
	}
	return words
}

// completeFlags completes the flags of a command, and of those below it: those that take
// a capability or a container by their names, and those whose help lists what they take.
func completeFlags(cmd *cobra.Command) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if _, done := cmd.GetFlagCompletionFunc(f.Name); done || f.Value.Type() == "bool" {
			return
		}
		switch words := choices(f.Usage); {
		case f.Name == "container":
			completeFlag(cmd, f.Name, containerWords)
		case f.Name == "having":
			completeFlag(cmd, f.Name, capWords)
		case words != nil:
			completeFlag(cmd, f.Name, func() []string { return words })
		}
	})
	for _, c := range cmd.Commands() {
		completeFlags(c)
	}
}

var (
	aside  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(` \([^)]*\)`) })
	choice = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^([a-z0-9.-]+)((?:, [a-z0-9.-]+)*) or ([a-z0-9.-]+)$`)
	})
)

// choices are the words that a help text such as "text, json (the profile) or flags"
// lists; nil if it is of another kind.
func choices(usage string) []string {
	usage, _, _ = strings.Cut(aside().ReplaceAllString(usage, ""), ":")
	m := choice().FindStringSubmatch(usage)
	if m == nil {
		return nil
	}
	words := []string{m[1]}
	for word := range strings.SplitSeq(strings.TrimPrefix(m[2], ", "), ", ") {
		if word != "" {
			words = append(words, word)
		}
	}
	return append(words, m[3])
}

// completeWords completes the words of explain: capabilities, default sets, containers.
func completeWords(_ *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	var words []string
	for _, w := range capWords() {
		if name, _, _ := strings.Cut(w, "\t"); !slices.Contains(args, name) {
			words = append(words, w)
		}
	}
	for _, d := range catalog.DefaultSets() {
		words = append(words, d.Engine+"\t"+defaultTitle(&d))
	}
	words = append(words, containerWords()...)
	// In the kernel's spelling for who begins so.
	if strings.HasPrefix(typed, "CAP_") {
		words = nil
		for c := range caps.All().Values() {
			words = append(words, c.Name())
		}
	}
	return completeLast(typed, words), noFiles
}

// completeRun completes what leastcap adds to the engine's flags, and capabilities; the
// parsing of flags is off there, so that the word before says what is wanted.
func completeRun(_ *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	flag, value, joined := strings.Cut(typed, "=")
	if !joined && len(args) > 0 {
		flag, value = args[len(args)-1], typed
	}
	var words []string
	switch flag {
	case "--cap-add", "--cap-drop":
		words = append(capWords(), "all")
	case "--engine":
		words = append(cli.Engines(), engineEmbedded)
	case "--rules":
		words = rules.Names()
	case "--profile":
		return nil, cobra.ShellCompDirectiveDefault
	default:
		if !strings.HasPrefix(typed, "-") {
			return nil, cobra.ShellCompDirectiveDefault
		}
		for _, f := range append([]string{"cap-add", "cap-drop"}, names(runFlags)...) {
			words = append(words, "--"+f)
		}
		return completeLast(typed, words), noFiles
	}
	fit := completeLast(value, words)
	if joined {
		for i := range fit {
			fit[i] = flag + "=" + fit[i]
		}
	}
	return fit, noFiles
}

// containerWords are the containers that run here, with their images.
func containerWords() []string {
	var words []string
	for _, c := range runningContainers(context.Background(), completeTimeout) {
		word := c.name
		if c.image != "" {
			word += "\t" + c.image
		}
		words = append(words, word)
	}
	slices.Sort(words)
	return words
}

// processWords are the processes of this machine, with their names.
func processWords() []string {
	list, _, err := proc.List("/proc", proc.ListOptions{})
	if err != nil {
		return nil
	}
	var words []string
	for i := range list {
		words = append(words, strconv.Itoa(list[i].PID)+"\t"+report.Clean(list[i].Comm, 40))
	}
	return words
}
