package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/leastcap/leastcap/engine/cli"
	"github.com/leastcap/leastcap/usage"
)

// storeVariable names another directory for the store.
const storeVariable = "LEASTCAP_PROFILES"

// storeDir is where learned profiles are kept for leastcap run.
func storeDir() (string, error) {
	if dir := os.Getenv(storeVariable); dir != "" {
		return filepath.Abs(dir)
	}
	if os.Geteuid() == 0 {
		return "/var/lib/leastcap/profiles", nil
	}
	dir := os.Getenv("XDG_STATE_HOME")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("%w, nor is $%s", err, storeVariable)
		}
		dir = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(dir, "leastcap", "profiles"), nil
}

// storeFile is the file of a workload's profile. A workload is the image, by content,
// and what runs in it: other ports or volumes do not make it another one, and what they
// could need is the user's to learn again.
func storeFile(dir, imageID string, line *cli.Line) string {
	entrypoint, _ := line.Entrypoint()
	id := strings.TrimPrefix(imageID, "sha256:")                             // Podman leaves it out
	key, _ := json.Marshal([]any{id, entrypoint, line.Command, line.User()}) // words only: cannot fail
	return filepath.Join(dir, fmt.Sprintf("%.12s-%.16x.json", id, sha256.Sum256(key)))
}

// storedLine understands the command line of a profile: an engine's, or leastcap's own,
// which has docker's flags and its own. No engine is asked.
func storedLine(words []string) (*cli.Line, error) {
	if ownLine(words) {
		return cli.UnderstandAs("docker", slices.Concat([]string{"docker"}, words[1:]), append(slices.Clone(runFlags), rootfsFlag))
	}
	name, ok := cli.Recognise(words)
	if !ok {
		return cli.Parse(words) // says what is wrong
	}
	return cli.UnderstandAs(name, words, []cli.FlagSpec{rootfsFlag})
}

func ownLine(words []string) bool {
	return len(words) > 1 && words[0] == "leastcap" && words[1] == "run"
}

// save keeps a profile for leastcap run. Only what is proven is kept.
func save(line *cli.Line, p *usage.Profile) error {
	if !p.Proven || !p.Complete || p.Subject.ImageID == "" {
		return nil
	}
	dir, err := storeDir()
	if err == nil {
		err = os.MkdirAll(dir, 0o700) // a command line may hold a password
	}
	if err == nil {
		err = writeFile(storeFile(dir, p.Subject.ImageID, line), p)
	}
	return err
}

// saved looks for the profile of a workload: "" if there is none.
func saved(imageID string, line *cli.Line) (file string, err error) {
	if imageID == "" {
		return "", nil
	}
	dir, err := storeDir()
	if err != nil {
		return "", nil // there is no place where one could be
	}
	file = storeFile(dir, imageID, line)
	_, err = os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("look for a learned profile: %w", err)
	}
	return file, nil
}
