package compose

import (
	"path"
	"slices"
	"strings"

	"github.com/leastcap/leastcap/manifest"
)

// ProjectName is how docker compose calls the project of a file that lies in the directory
// dir, an absolute path: COMPOSE_PROJECT_NAME of the environment, what the file or the one
// over it says, else the directory's name (compose-go cli/options.go GetWorkingDir(),
// loader/loader.go projectName()). It is "" if that cannot be known.
func ProjectName(src manifest.Source, dir string) string {
	p := load(src)
	main := p.files[src.Name]
	if main == nil {
		return ""
	}
	if name, ok := main.env("COMPOSE_PROJECT_NAME"); ok && name != "" {
		return name
	}
	for _, f := range []*file{p.files[p.overrideOf(src.Name)], main} {
		if f == nil {
			continue
		}
		if e := f.root.Get("name"); e.Exists() {
			name, _ := f.text(e.Value).Get()
			return normal(name)
		}
	}
	return normal(path.Base(dir))
}

// normal is compose-go's NormalizeProjectName.
func normal(name string) string {
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_' || r == '-' {
			return r
		}
		return -1
	}, strings.ToLower(name))
	return strings.TrimLeft(name, "_-")
}

// Command are the words of a docker compose line that reads the file as it is read here,
// from the working directory.
func Command(src manifest.Source) []string {
	words := []string{"docker", "compose"}
	p := &project{src: src}
	if first := slices.IndexFunc(names, p.exists); first >= 0 && names[first] == path.Clean(src.Name) {
		return words // found by itself, with what is put over it
	}
	words = append(words, "-f", src.Name)
	if over := p.overrideOf(src.Name); over != "" {
		words = append(words, "-f", over)
	}
	return words
}
