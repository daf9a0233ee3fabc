package table

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/leastcap/leastcap/caps"
)

// names is a set in few words.
func names(s caps.Set) string {
	if s.Empty() {
		return "none"
	}
	var words []string
	for _, c := range s.Caps() {
		words = append(words, c.String())
	}
	return strings.Join(words, " ")
}

// some is a set of differences, empty for none.
func some(s caps.Set) string {
	if s.Empty() {
		return ""
	}
	return names(s)
}

// Text writes the table of one round for a terminal.
func Text(out io.Writer, rows []Row) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "WORKLOAD\tEXACT\tTRUTH\tMISSING\tEXTRA\tRUNS\tSECONDS\tPLAIN\tPLAIN OWN")
	for _, r := range rows {
		truth := "?"
		if r.Truth != nil {
			truth = names(r.Truth.Required)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%.1f\t%d\t%d\n", r.Workload.Name, exact(r), truth, some(r.Missing), some(r.Extra),
			r.Runs, r.Seconds, r.PlainAll.Len(), r.PlainOwn.Len())
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(out, Sum(rows))
	return err
}

func exact(r Row) string {
	switch {
	case r.Exact:
		return "yes"
	case r.Problem != "":
		return "NO: " + r.Problem
	}
	return "NO"
}

// String is the totals in a line.
func (t Totals) String() string {
	return fmt.Sprintf("%d of %d exact, precision %.2f, recall %.2f; %d runs in %.0f s (median %.1f s a workload); "+
		"a plain trace says %.1f too many on average and misses %d, without the runtime's set-up %.1f and %d",
		t.Exact, t.Workloads, t.Precision, t.Recall, t.Runs, t.Seconds, t.Median, t.OverAll, t.MissAll, t.OverOwn, t.MissOwn)
}
