package testenv

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Corpus returns files that people really wrote, which are no part of the module: those
// of shared/corpus, which stands beside the repository (of a work tree of Git's beside the
// main one), that match the pattern ("kubernetes/*.yaml"), by base name. LEASTCAP_CORPUS
// says where else they are. Whoever has only the repository cannot have them: then, and
// only then, the test is skipped wherever it runs.
func Corpus(t testing.TB, pattern string) map[string][]byte {
	t.Helper()
	dir := os.Getenv("LEASTCAP_CORPUS")
	if dir == "" {
		root, err := moduleRoot()
		if err != nil {
			t.Fatal(err)
		}
		if dir, err = corpusBeside(root); err != nil {
			t.Skipf("there is no corpus of definitions: %v; LEASTCAP_CORPUS says where it is", err)
		}
	}
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	Need(t, Requirement{"the corpus of definitions", func() error {
		if len(names) == 0 {
			return fmt.Errorf("no %s in %s; LEASTCAP_CORPUS says where it is", pattern, dir)
		}
		return nil
	}})
	files := make(map[string][]byte, len(names))
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(name)] = data
	}
	return files
}

// corpusBeside is the corpus beside a repository, whichever of its work trees is given.
func corpusBeside(root string) (string, error) {
	dir := filepath.Join(root, "..", "shared")
	_, err := os.Stat(dir)
	if err == nil {
		return filepath.Join(dir, "corpus"), nil
	}
	out, gitErr := exec.Command("git", "-C", root, "rev-parse", "--path-format=absolute", "--git-common-dir").Output()
	if gitErr != nil { // no work tree at all
		return "", err
	}
	dir = filepath.Join(string(bytes.TrimSpace(out)), "..", "..", "shared")
	if _, err := os.Stat(dir); err != nil {
		return "", err
	}
	return filepath.Join(dir, "corpus"), nil
}
