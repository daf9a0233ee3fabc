package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// installation is what is remembered of an image that was installed: a file for each,
// so that nobody has to wait for a lock.
type installation struct {
	Version string    `json:"version"` // leastcap.installation/v1
	ImageID string    `json:"image_id"`
	Image   string    `json:"image"`
	Name    string    `json:"name"`
	Time    time.Time `json:"time"`
}

// installDir is beside the profiles.
func installDir() (string, error) {
	dir, err := storeDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(filepath.Dir(dir), "installations"), nil
}

func installPrefix(imageID string) string {
	return fmt.Sprintf("%.24s-", strings.TrimPrefix(imageID, "sha256:"))
}

func recordInstall(imageID, image, name string) error {
	dir, err := installDir()
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(installation{"leastcap.installation/v1", imageID, image, name, time.Now().UTC().Truncate(time.Second)}, "", "  ")
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err == nil {
		err = replaceFile(installFile(dir, imageID, name), append(data, '\n'))
	}
	if err != nil {
		return fmt.Errorf("remember the installation: %w", err)
	}
	return nil
}

func installFile(dir, imageID, name string) string {
	return filepath.Join(dir, fmt.Sprintf("%s%.16x.json", installPrefix(imageID), sha256.Sum256([]byte(name))))
}

// installed counts under how many names an image is installed.
func installed(imageID string) (int, error) {
	dir, err := installDir()
	if err != nil {
		return 0, nil // there is no place where it could be remembered
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("look for installations: %w", err)
	}
	n := 0
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), installPrefix(imageID)) && strings.HasSuffix(e.Name(), ".json") {
			n++
		}
	}
	return n, nil
}

func forgetInstall(imageID, name string) error {
	dir, err := installDir()
	if err != nil {
		return nil
	}
	if err := os.Remove(installFile(dir, imageID, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget the installation: %w", err)
	}
	return nil
}
