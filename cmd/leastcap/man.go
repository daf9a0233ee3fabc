package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func newMan(stdout io.Writer) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "man [COMMAND...]",
		Short: "Print the manual page of a command, or write them all",
		Long: `Print the manual page of a command, in roff: "leastcap man explain | man -l -" shows it.
Without a COMMAND it is the page of leastcap itself. The pages are made of the commands,
and so say what this leastcap does.

With --dir all pages are written to a directory: leastcap.1, leastcap-explain.1 and so on.
"make install" puts them where man looks, and the completions of bash, zsh and fish where
these look; leastcap completion prints them.

Exit status:
  0  done
  2  wrong usage
  3  they cannot be written`,
		Example: `  leastcap man explain | man -l -
  leastcap man --dir /usr/local/share/man/man1`,
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			if dir != "" {
				if len(args) > 0 {
					return &usageError{errors.New("--dir writes the pages of all commands"), "leave the command out"}
				}
				return writeManuals(root, dir)
			}
			about, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return &usageError{fmt.Errorf("there is no command %q", strings.Join(args, " ")), "leastcap --help lists them"}
			}
			manual(about)
			return doc.GenMan(about, manHeader(), stdout)
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			var words []string
			if about, rest, err := cmd.Root().Find(args); err == nil && len(rest) == 0 {
				for _, c := range about.Commands() {
					if c.IsAvailableCommand() && strings.HasPrefix(c.Name(), typed) {
						words = append(words, c.Name()+"\t"+c.Short)
					}
				}
			}
			return words, noFiles
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "write all pages to this directory, which is made if it is not there")
	return cmd
}

func manHeader() *doc.GenManHeader {
	return &doc.GenManHeader{Section: "1", Source: "leastcap " + version, Manual: "leastcap"}
}

func writeManuals(root *cobra.Command, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	manual(root)
	return doc.GenManTreeFromOpts(root, doc.GenManTreeOptions{Header: manHeader(), Path: dir, CommandSeparator: "-"})
}

// manual makes the help texts of a command, and of those below it, what the generator
// of manual pages takes: Markdown.
func manual(cmd *cobra.Command) {
	cmd.DisableAutoGenTag = true // no date of today
	cmd.Long = markdown(cmd.Long)
	cmd.Short = escapeMarkdown(cmd.Short)
	for _, c := range cmd.Commands() {
		manual(c)
	}
}

// markdown makes Markdown of a help text: what is indented is shown as it stands, and
// a short line with a colon in front of such a block, such as "Exit status:", is the
// heading of a section.
func markdown(text string) string {
	lines := strings.Split(text, "\n")
	var b strings.Builder
	block := false
	for i, line := range lines {
		indented := strings.HasPrefix(line, "  ")
		if line == "" && block { // the block goes on if it does after the empty line
			indented = i+1 < len(lines) && strings.HasPrefix(lines[i+1], "  ")
		}
		if indented != block {
			b.WriteString("\n```\n")
			block = indented
		}
		switch {
		case block:
			b.WriteString(line)
		case line == "Exit status:":
			b.WriteString("\n# EXIT STATUS\n")
		default:
			b.WriteString(escapeMarkdown(line))
		}
		b.WriteByte('\n')
	}
	if block {
		b.WriteString("```\n")
	}
	return b.String()
}

// escapeMarkdown takes the meaning from the characters that have one in Markdown.
func escapeMarkdown(s string) string {
	return markdownEscaper.Replace(s)
}

var markdownEscaper = strings.NewReplacer(
	`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "<", `\<`, ">", `\>`, "[", `\[`, "]", `\]`, "#", `\#`, "~", `\~`, "|", `\|`,
)
