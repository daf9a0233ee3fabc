// Testsum reads the output of "go test -json" and prints what a person wants of
// it: a line a package, all that a failed test said, and at the end how many
// tests passed, failed and were skipped.
//
// It fails when a test failed, when a package did not build, when nothing ran,
// and when a test was skipped that the file of -skips does not name.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

func main() {
	skips := flag.String("skips", "", "file that names the tests that may be skipped: package, test, reason; a line each")
	flag.Parse()
	ok, err := run(os.Stdin, os.Stdout, *skips)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testsum: error:", err)
		os.Exit(2)
	}
	if !ok {
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer, skipsFile string) (ok bool, err error) {
	var allowed map[string]bool
	if skipsFile != "" {
		text, err := os.ReadFile(skipsFile)
		if err != nil {
			return false, err
		}
		if allowed, err = parseSkips(string(text)); err != nil {
			return false, fmt.Errorf("%s: %w", skipsFile, err)
		}
	}
	return summarize(in, out, allowed)
}

// parseSkips reads the lines "package test reason": the names are what go test
// prints, and a reason has to be there.
func parseSkips(text string) (map[string]bool, error) {
	allowed := map[string]bool{}
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) < 3 {
			return nil, fmt.Errorf("line %d: want a package, a test and the reason", i+1)
		}
		allowed[fields[0]+" "+fields[1]] = true
	}
	return allowed, nil
}

// event is what test2json(1) describes, and the build events beside it.
type event struct {
	Action     string
	Package    string
	ImportPath string
	Test       string
	Elapsed    float64 // seconds
	Output     string
}

// summarize returns whether all is well. With allowed nil any test may be
// skipped.
func summarize(in io.Reader, out io.Writer, allowed map[string]bool) (bool, error) {
	var passed, failed, skipped, packages, broken int
	var unexpected []string
	said := map[string][]string{} // package, test → output so far

	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			var e event
			if !strings.HasPrefix(line, "{") || json.Unmarshal([]byte(line), &e) != nil {
				fmt.Fprint(out, line) // make's or a script's own words
			} else {
				key := e.Package + " " + e.Test
				switch e.Action {
				case "build-output":
					fmt.Fprint(out, e.Output)
				case "output":
					said[key] = append(said[key], e.Output)
				case "pass", "fail", "skip":
					if e.Test == "" {
						packages++
						if e.Action == "fail" {
							broken++
						}
						printPackage(out, e, said[key])
						break
					}
					switch e.Action {
					case "pass":
						passed++
					case "fail":
						failed++
						fmt.Fprintf(out, "%s:\n%s", key, strings.Join(said[key], ""))
					case "skip":
						skipped++
						if allowed != nil && !allowed[key] {
							unexpected = append(unexpected, key)
							fmt.Fprintf(out, "%s:\n%s", key, strings.Join(said[key], ""))
						}
					}
					delete(said, key)
				}
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return false, err
		}
	}

	// A test that neither passed nor failed was cut off: a panic, a time-out.
	for _, key := range slices.Sorted(maps.Keys(said)) {
		if pkg, test, _ := strings.Cut(key, " "); test != "" {
			failed++
			fmt.Fprintf(out, "%s did not end (package %s):\n%s", test, pkg, strings.Join(said[key], ""))
		}
	}
	for _, key := range unexpected {
		fmt.Fprintf(out, "%s was skipped, and should run here\n", key)
	}
	if packages == 0 {
		fmt.Fprintln(out, "no package was tested")
	}
	fmt.Fprintf(out, "%d passed, %d failed, %d skipped", passed, failed, skipped)
	if broken > 0 {
		fmt.Fprintf(out, "; %d of %d packages failed", broken, packages)
	}
	fmt.Fprintln(out)
	return failed == 0 && broken == 0 && packages > 0 && len(unexpected) == 0, nil
}

// printPackage prints what the package said outside its tests when it failed,
// else its closing line.
func printPackage(out io.Writer, e event, said []string) {
	if e.Action == "fail" {
		fmt.Fprint(out, strings.Join(said, ""))
		return
	}
	for _, s := range said {
		if strings.HasPrefix(s, "ok ") {
			fmt.Fprint(out, s)
		}
	}
}
