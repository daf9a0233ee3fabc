package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/leastcap/leastcap/learn"
	"github.com/leastcap/leastcap/report"
	"github.com/leastcap/leastcap/usage"
)

var (
	green  = lipgloss.NewStyle().Foreground(lipgloss.Green)
	yellow = lipgloss.NewStyle().Foreground(lipgloss.Yellow)
	red    = lipgloss.NewStyle().Foreground(lipgloss.Red)
	faint  = lipgloss.NewStyle().Faint(true)
)

// looksFor is ASCII where the locale does not say that the terminal takes
// UTF-8. The first of the variables that is set counts, locale(7).
func looksFor(getenv func(string) string) looks {
	locale := strings.ToLower(cmp.Or(getenv("LC_ALL"), getenv("LC_CTYPE"), getenv("LANG")))
	if strings.Contains(locale, "utf-8") || strings.Contains(locale, "utf8") {
		return unicodeLooks
	}
	return asciiLooks
}

// longestReason is the most characters of a reason in one line of progress;
// the report has more.
const longestReason = 200

// plainLine is a finished run where there is no terminal.
func plainLine(e learn.Event) string {
	outcome := "passed"
	if !e.Outcome.Passed {
		outcome = "failed"
	}
	return fmt.Sprintf("%s: %s: %s, %s%s", place(e), tried(e), outcome, seconds(e.Outcome.Seconds), reason(e))
}

// finished is a finished run on a terminal: "✗ without chown 0.9 s: exited 1".
func (l looks) finished(e learn.Event) string {
	mark := green.Render(l.passed)
	switch {
	case e.Outcome.Passed:
	case e.Kind == usage.Remove || e.Kind == usage.Replace:
		mark = yellow.Render(l.failed) // tells that it is needed: no bad news
	default:
		mark = red.Render(l.failed)
	}
	return mark + " " + tried(e) + " " + faint.Render(seconds(e.Outcome.Seconds)) + reason(e)
}

// live is the line about the run that goes on, in at most width columns. What
// has no room is left out, the least telling first.
func (l looks) live(e learn.Event, elapsed time.Duration, frame, width int) string {
	spin := yellow.Render(l.spinner[frame%len(l.spinner)])
	runs := 0
	if e.Step == learn.Done {
		spin, runs = " ", 1
	}
	bar := l.bar(e.Trial-1+runs, max(e.Of, e.Trial, 1))
	clock := seconds(elapsed.Seconds())
	separate := func(parts ...string) string { return strings.Join(parts, faint.Render(l.separator)) }
	line := ""
	for _, line = range []string{
		spin + " " + bar + " " + separate(place(e), tried(e), stage(e.Step), clock),
		spin + " " + separate(place(e), tried(e), stage(e.Step), clock),
		spin + " " + separate(place(e), tried(e), clock),
		spin + " " + separate(fmt.Sprintf("%d/%d", e.Trial, e.Of), tried(e), clock),
		spin + " " + separate(fmt.Sprintf("%d/%d", e.Trial, e.Of), tried(e)),
	} {
		if ansi.StringWidth(line) <= width {
			return line
		}
	}
	return ansi.Truncate(line, max(width, 0), l.ellipsis)
}

// bar shows how many of all runs are over.
func (l looks) bar(over, all int) string {
	const width = 12
	n := min(max(over*width/all, 0), width)
	return green.Render(strings.Repeat(l.full, n)) + faint.Render(strings.Repeat(l.empty, width-n))
}

// place is "run 3 of 9".
func place(e learn.Event) string {
	if e.Of < e.Trial {
		return fmt.Sprintf("run %d", e.Trial)
	}
	return fmt.Sprintf("run %d of %d", e.Trial, e.Of)
}

// tried is what a run is for.
func tried(e learn.Event) string {
	switch e.Kind {
	case usage.Baseline:
		return "baseline"
	case usage.Predict:
		return with("predicted", e)
	case usage.Repair:
		return "with " + e.Added.String() + " added"
	case usage.Remove:
		return "without " + e.Removed.String()
	case usage.Replace:
		return fmt.Sprintf("%v in place of %v", e.Added, e.Removed)
	case usage.Confirm:
		return with("final", e)
	}
	return string(e.Kind)
}

// with is "with the final 4", the capabilities of a run being that many.
func with(which string, e learn.Event) string {
	if e.Set.Empty() {
		return "with no capability"
	}
	return fmt.Sprintf("with the %s %d", which, e.Set.Len())
}

// stage is where a run stands.
func stage(s learn.Step) string {
	switch s {
	case learn.Starting:
		return "starting"
	case learn.Checking:
		return "waiting for the check"
	case learn.Settling:
		return "watching"
	case learn.Stopping:
		return "stopping"
	case learn.Done:
		return "done"
	}
	return string(s)
}

// reason is why a run failed. It can hold the workload's own words.
func reason(e learn.Event) string {
	why := e.Outcome.Reason
	if why == "" {
		why = e.Outcome.Failure
	}
	if e.Outcome.Passed || why == "" {
		return ""
	}
	return ": " + report.Clean(why, longestReason)
}

func seconds(s float64) string { return fmt.Sprintf("%.1f s", s) }
