package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/report"
	"github.com/leastcap/leastcap/usage"
)

// stored is a profile that is kept for leastcap run.
type stored struct {
	ID, File string
	*usage.Profile
}

// storeID is what a file of the store is called by: what the image, the command and
// the user hash to.
func storeID(file string) string {
	_, key, _ := strings.Cut(strings.TrimSuffix(filepath.Base(file), ".json"), "-")
	return fmt.Sprintf("%.12s", key)
}

// store is what is kept.
type store struct {
	dir      string
	profiles []stored // the newest first
	broken   []string // files that are no profiles; it has been said
}

func readStore(stderr io.Writer) (*store, error) {
	dir, err := storeDir()
	if err != nil {
		return nil, err
	}
	s := &store{dir: dir}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list the kept profiles: %w", err)
	}
	for _, e := range entries {
		// Links are other ids of the same image.
		if !e.Type().IsRegular() || !strings.HasSuffix(e.Name(), ".json") {
			continue
		}
		file := filepath.Join(dir, e.Name())
		p, err := readProfile(nil, file)
		if err != nil {
			say(stderr, "warning: %v", err)
			s.broken = append(s.broken, file)
			continue
		}
		s.profiles = append(s.profiles, stored{storeID(file), file, p})
	}
	slices.SortStableFunc(s.profiles, func(a, b stored) int { return b.Created.Compare(a.Created) })
	return s, nil
}

func newProfileList(stdout, stderr io.Writer) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "list [flags]",
		Short: "List the profiles that are kept for leastcap run",
		Long: `List the profiles that are kept for leastcap run: what leastcap learn proved here
and what leastcap profile pull brought. GIVES is what the container gets.

Exit status:
  0  listed
  1  a file among them is no profile
  2  wrong usage
  3  they cannot be read, or the list not be written`,
		Example: `  leastcap profile list
  leastcap profile list -o json`,
		DisableFlagsInUseLine: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &usageError{fmt.Errorf("too many arguments: %s", strings.Join(args, " ")), "use leastcap profile list"}
			}
			return nil
		},
		RunE: func(_ *cobra.Command, _ []string) error {
			if err := known(output, "text", "json"); err != nil {
				return err
			}
			s, err := readStore(stderr)
			if err != nil {
				return err
			}
			if output == "json" {
				err = listJSON(stdout, s.profiles)
			} else {
				err = listText(stdout, s.profiles)
			}
			if err == nil && len(s.broken) > 0 {
				return status(exitFindings)
			}
			return err
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

func listText(stdout io.Writer, list []stored) error {
	if len(list) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tIMAGE\tCOMMAND\tREQUIRED\tGIVES\tLEARNED\tORIGIN")
	for _, s := range list {
		origin := "learned here"
		if s.Origin != nil {
			origin = s.Origin.Reference
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.ID, report.Clean(s.Subject.Image, 60), report.Clean(workload(s.Profile), 60),
			s.Required, s.Recommended, s.Created.Local().Format("2006-01-02 15:04"), report.Clean(origin, 80))
	}
	return w.Flush()
}

// listed is one of the list in JSON.
type listed struct {
	ID          string        `json:"id"`
	File        string        `json:"file"`
	Image       string        `json:"image"`
	ImageID     string        `json:"image_id"`
	Command     []string      `json:"command"` // the container line that was learned
	User        string        `json:"user,omitempty"`
	Required    caps.Set      `json:"required"`
	Recommended caps.Set      `json:"recommended"`
	Created     time.Time     `json:"created"`
	Origin      *usage.Origin `json:"origin,omitempty"`
}

func listJSON(stdout io.Writer, list []stored) error {
	out := make([]listed, 0, len(list))
	for _, s := range list {
		out = append(out, listed{s.ID, s.File, s.Subject.Image, s.Subject.ImageID, s.Subject.Command, s.Subject.User, s.Required, s.Recommended, s.Created, s.Origin})
	}
	e := json.NewEncoder(usage.JSONWriter(stdout))
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(out)
}

func newProfileRemove(stdout io.Writer) *cobra.Command {
	var images []string
	cmd := &cobra.Command{
		Use:   "remove [--image IMAGE] [ID...]",
		Short: "Remove profiles that are kept for leastcap run",
		Long: `Remove profiles that are kept for leastcap run: by the ID that leastcap profile list
shows (or its beginning), or all of an image, by its name or its id. The IDs of what
was removed are printed. Registries are not asked.

Exit status:
  0  removed
  2  wrong usage, or there is none such; nothing was removed then
  3  one could not be removed`,
		Example: `  leastcap profile remove 3f2a9c
  leastcap profile remove --image nginx:1.27`,
		DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			s, err := readStore(io.Discard)
			if err != nil {
				return err
			}
			files, err := s.find(args, images)
			if err != nil {
				return err
			}
			for _, file := range files {
				if err := s.remove(file); err != nil {
					return err
				}
				if _, err := fmt.Fprintln(stdout, storeID(file)); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().StringArrayVar(&images, "image", nil, "remove all of this image: its name as it was learned, or its id")
	return cmd
}

// find gives the files that are meant. One that is broken has an ID too.
func (s *store) find(ids, images []string) ([]string, error) {
	hint := "leastcap profile list shows what is kept"
	if len(ids)+len(images) == 0 {
		return nil, &usageError{errors.New("nothing is named to be removed"), hint}
	}
	var out []string
	add := func(file string) {
		if !slices.Contains(out, file) {
			out = append(out, file)
		}
	}
	all := slices.Clone(s.broken)
	for _, p := range s.profiles {
		all = append(all, p.File)
	}
	for _, id := range ids {
		var match []string
		for _, file := range all {
			_, key, _ := strings.Cut(strings.TrimSuffix(filepath.Base(file), ".json"), "-")
			if id != "" && strings.HasPrefix(key, id) {
				match = append(match, file)
			}
		}
		switch len(match) {
		case 0:
			return nil, &usageError{fmt.Errorf("no profile %q is kept", id), hint}
		case 1:
			add(match[0])
		default:
			return nil, &usageError{fmt.Errorf("%d profiles begin with %q", len(match), id), "give more of the ID"}
		}
	}
	for _, name := range images {
		before := len(out)
		found := false
		for _, p := range s.profiles {
			id := strings.TrimPrefix(p.Subject.ImageID, "sha256:")
			short := strings.TrimPrefix(name, "sha256:")
			if name != "" && (p.Subject.Image == name || len(short) >= 12 && strings.HasPrefix(id, short)) {
				add(p.File)
				found = true
			}
		}
		if !found && len(out) == before {
			return nil, &usageError{fmt.Errorf("no profile of image %q is kept", name), hint}
		}
	}
	return out, nil
}

// remove removes a profile and its other names.
func (s *store) remove(file string) error {
	if err := os.Remove(file); err != nil {
		return fmt.Errorf("remove a profile: %w", err)
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("remove a profile: %w", err)
	}
	for _, e := range entries {
		name := filepath.Join(s.dir, e.Name())
		if to, err := os.Readlink(name); err == nil && to == filepath.Base(file) {
			if err := os.Remove(name); err != nil {
				return fmt.Errorf("remove a profile: %w", err)
			}
		}
	}
	return nil
}
