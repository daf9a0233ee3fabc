package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/term"
	"github.com/spf13/cobra"

	"github.com/leastcap/leastcap/probe"
	"github.com/leastcap/leastcap/proc"
)

type topFlags struct {
	interval, wait time.Duration
	snapshot       bool
	sort, filter   string
	hook           string
}

func newTop(stdout, stderr io.Writer) *cobra.Command {
	var f topFlags
	cmd := &cobra.Command{
		Use:   "top [flags]",
		Short: "Show containers with their capabilities, live",
		Long: `Show the containers of this machine, the most dangerous first: the capabilities that
their processes hold, those that they were seen to use, and what they are refused, as it
comes. "?" on the screen lists the keys.

What is used is seen where leastcap may use BPF (as root), of all that runs, from the
moment at which top begins. Without, it says so and shows what is held.

--snapshot prints one frame and ends, for pipes and tests: as large as the terminal, or as
$COLUMNS and $LINES say, or 80 by 24.

Exit status:
  0  done
  2  wrong usage, or no terminal
  3  /proc cannot be read, or the way in that --hook names does not work
  130  interrupted by a signal`,
		Example: `  leastcap top
  leastcap top --filter net_admin --sort denied
  leastcap top --snapshot --wait 10s`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &usageError{fmt.Errorf("%q: top takes no arguments", args[0]), "leastcap top --filter NAME shows the containers of that name"}
			}
			if err := f.check(); err != nil {
				return err
			}
			return f.run(cmd.Context(), stdout, stderr)
		},
	}
	fl := cmd.Flags()
	fl.DurationVar(&f.interval, "interval", 2*time.Second, "how often to look")
	fl.BoolVar(&f.snapshot, "snapshot", false, "print one frame and end")
	fl.DurationVar(&f.wait, "wait", 0, "with --snapshot: watch for this long first")
	fl.StringVar(&f.sort, "sort", "risk", "risk, name, processes, used or denied")
	fl.StringVar(&f.filter, "filter", "", "only containers with this in their name, image or id, or that hold this capability")
	addHook(fl, &f.hook, "")
	return cmd
}

func (f *topFlags) check() error {
	switch {
	case !slices.Contains(topSorts, f.sort):
		return &usageError{fmt.Errorf("--sort %q is not known", f.sort), "use one of " + strings.Join(topSorts, ", ")}
	case f.interval < 100*time.Millisecond:
		return &usageError{fmt.Errorf("--interval %v is too short", f.interval), "use 100ms or more"}
	case f.wait < 0:
		return &usageError{fmt.Errorf("--wait %v is no time", f.wait), "use 0s or more"}
	case f.wait > 0 && !f.snapshot:
		return &usageError{errors.New("--wait goes with --snapshot only"), "leave it out"}
	}
	return nil
}

func (f *topFlags) run(ctx context.Context, stdout, stderr io.Writer) error {
	file, _ := stdout.(*os.File)
	interactive := file != nil && term.IsTerminal(file.Fd()) && term.IsTerminal(os.Stdin.Fd())
	if !f.snapshot {
		hint := "leastcap top --snapshot prints one frame"
		if !interactive {
			return &usageError{errors.New("top needs a terminal"), hint}
		}
		if t := os.Getenv("TERM"); t == "dumb" || t == "" {
			return &usageError{fmt.Errorf("top needs a terminal that can place its cursor (TERM=%s)", t), hint}
		}
	}
	m := topModel{full: proc.Known(), width: 80, height: 24, selected: nothing, sort: f.sort, filter: printable(f.filter)}
	s := topSampler{names: newContainerNames()}
	use, err := openUsage(f.hook)
	switch {
	case err != nil && f.hook != "":
		return err
	case err == nil:
		s.usage, m.watching = use, use.Sees()
		defer use.Close()
	default:
		s.trouble = "what is used is not seen: " + err.Error()
		var feature *probe.FeatureError
		if errors.As(err, &feature) {
			s.trouble = "what is used is not seen, for want of " + feature.Missing
			if os.Geteuid() != 0 && errors.Is(err, syscall.EPERM) {
				s.trouble = "run leastcap as root to see what is used, and containers' names"
			}
		}
	}
	m.sample = s.sample(ctx)
	if len(m.sample.Containers) == 0 {
		return errors.New(m.sample.Trouble)
	}
	if f.snapshot {
		return f.print(ctx, stdout, &m, &s)
	}
	ctx, stop := quittable(ctx)
	defer stop()
	m.look = func() tea.Cmd {
		return tea.Tick(f.interval, func(time.Time) tea.Msg { return sampleMsg(s.sample(ctx)) })
	}
	p := tea.NewProgram(m, tea.WithContext(ctx), tea.WithOutput(stdout))
	defer handleStops(p)()
	_, err = p.Run()
	if errors.Is(err, tea.ErrInterrupted) || ctx.Err() != nil {
		return status(exitInterrupted) // the screen is as it was, and there is nothing to say
	}
	return err
}

func (f *topFlags) print(ctx context.Context, stdout io.Writer, m *topModel, s *topSampler) error {
	if f.wait > 0 {
		for end := time.Now().Add(f.wait); time.Now().Before(end); {
			select {
			case <-ctx.Done():
				return status(exitInterrupted)
			case <-time.After(min(f.interval, time.Until(end))):
			}
			m.sample = s.sample(ctx)
		}
	}
	m.width, m.height = frameSize(stdout)
	text := m.frame() + "\n"
	if !styleOf(stdout).Color {
		text = ansi.Strip(text)
	}
	out := colorprofile.NewWriter(stdout, os.Environ())
	_, err := io.WriteString(out, text)
	return err
}

// frameSize is the terminal's, or what the environment says, or 80 by 24.
func frameSize(stdout io.Writer) (width, height int) {
	if file, ok := stdout.(*os.File); ok {
		if w, h, err := term.GetSize(file.Fd()); err == nil && w > 0 && h > 0 {
			return w, h
		}
	}
	width, height = 80, 24
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		width = min(n, 1000)
	}
	if n, err := strconv.Atoi(os.Getenv("LINES")); err == nil && n > 0 {
		height = min(n, 1000)
	}
	return width, height
}
