package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
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
			page, err := manual(about)
			if err != nil {
				return err
			}
			_, err = stdout.Write(page)
			return err
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

// writeManuals writes the pages of a command and of those below it.
func writeManuals(cmd *cobra.Command, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	page, err := manual(cmd)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, pageName(cmd)+".1"), page, 0o644); err != nil {
		return err
	}
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			if err := writeManuals(c, dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// pageName is leastcap-image-label of "leastcap image label".
func pageName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// manual is a command's page, in the macros of man(7).
func manual(cmd *cobra.Command) ([]byte, error) {
	cmd.InitDefaultHelpFlag()
	date := time.Now()
	if epoch := os.Getenv("SOURCE_DATE_EPOCH"); epoch != "" { // reproducible-builds.org
		seconds, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil {
			return nil, &usageError{fmt.Errorf("SOURCE_DATE_EPOCH=%q is no number of seconds", epoch), "give the seconds since 1970, or leave it out"}
		}
		date = time.Unix(seconds, 0).UTC()
	}
	p := &manPage{}
	p.line(".nh") // words are not broken
	p.line(`.TH "%s" "1" "%s" "leastcap %s" "leastcap"`, strings.ToUpper(roff(pageName(cmd), false)), date.Format("Jan 2006"), roff(version, true))
	p.line(".SH NAME")
	p.text(pageName(cmd)+` - `+cmd.Short, false)
	p.line(".SH SYNOPSIS")
	p.line(`\fB%s\fP`, roff(cmd.UseLine(), true))
	p.line(".SH DESCRIPTION")
	p.help(cmp.Or(cmd.Long, cmd.Short))
	p.options("OPTIONS", cmd.NonInheritedFlags())
	p.options("OPTIONS INHERITED FROM PARENT COMMANDS", cmd.InheritedFlags())
	if cmd.Example != "" {
		p.line(".SH EXAMPLE")
		p.block(strings.Split(cmd.Example, "\n"))
	}
	var also []string
	if parent := cmd.Parent(); parent != nil {
		also = append(also, pageName(parent))
	}
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			also = append(also, pageName(c))
		}
	}
	if len(also) > 0 {
		p.line(".SH SEE ALSO")
		for i, name := range also {
			also[i] = `\fB` + roff(name, true) + `\fP(1)`
		}
		p.line("%s", strings.Join(also, ",\n"))
	}
	return p.Bytes(), nil
}

// manPage is a page that is being written.
type manPage struct{ bytes.Buffer }

// line writes a line of roff.
func (p *manPage) line(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

// text writes a line as it is to be read.
func (p *manPage) text(line string, literal bool) {
	line = roff(line, literal)
	if strings.HasPrefix(line, ".") || strings.HasPrefix(line, `\(aq`) { // no request
		line = `\&` + line
	}
	p.line("%s", line)
}

// block writes lines that stay as they are.
func (p *manPage) block(lines []string) {
	p.line(".nf")
	for _, l := range lines {
		if l == "" {
			p.line("")
			continue
		}
		p.text(l, true)
	}
	p.line(".fi")
}

// help writes a help text: what is indented is shown as it stands, and "Exit status:" in
// front of such a block is the heading of a section.
func (p *manPage) help(text string) {
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		switch line := lines[i]; {
		case line == "Exit status:":
			p.line(".SH EXIT STATUS")
		case line == "":
			if i+1 < len(lines) && lines[i+1] != "Exit status:" {
				p.line(".PP")
			}
		case strings.HasPrefix(line, "  "):
			end := i + 1
			// The block goes on if it does after an empty line.
			for end < len(lines) && (strings.HasPrefix(lines[end], "  ") || lines[end] == "" && end+1 < len(lines) && strings.HasPrefix(lines[end+1], "  ")) {
				end++
			}
			p.block(lines[i:end])
			i = end - 1
		default:
			p.text(line, false)
		}
	}
}

func (p *manPage) options(title string, flags *pflag.FlagSet) {
	if !flags.HasAvailableFlags() {
		return
	}
	p.line(".SH %s", title)
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Deprecated != "" {
			return
		}
		p.line(".TP")
		name := `\fB\-\-` + roff(f.Name, true) + `\fP`
		if f.Shorthand != "" {
			name = `\fB\-` + f.Shorthand + `\fP, ` + name
		}
		value, usage := pflag.UnquoteUsage(f)
		switch {
		case f.Value.Type() == "bool":
		case f.NoOptDefVal != "":
			name += `[=\fI` + roff(value, true) + `\fP]`
		default:
			name += ` \fI` + roff(value, true) + `\fP`
		}
		switch {
		case f.DefValue == "", f.DefValue == "false", f.DefValue == "[]", f.DefValue == "0", f.DefValue == "0s":
		case f.Value.Type() == "string":
			usage += fmt.Sprintf(" (default %q)", f.DefValue)
		default:
			usage += " (default " + f.DefValue + ")"
		}
		p.line("%s", name)
		p.text(usage, false)
	})
}

var (
	roffEscaper = strings.NewReplacer(`\`, `\e`, `'`, `\(aq`, "`", "\\(ga", "~", `\(ti`, "^", `\(ha`)
	// A minus that begins a word is no hyphen: people copy it, or search for it.
	roffMinus = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(^|[^\pL\pN])-+`) })
)

// roff takes the meaning from the characters that have one. In what is literal every
// minus is one.
func roff(s string, literal bool) string {
	s = roffEscaper.Replace(s)
	if literal {
		return strings.ReplaceAll(s, "-", `\-`)
	}
	return roffMinus().ReplaceAllStringFunc(s, func(m string) string { return strings.ReplaceAll(m, "-", `\-`) })
}
