package compose

import (
	"path"

	"github.com/leastcap/leastcap/manifest"
)

// Project are the files that a project is read from, by name: Main, the source and what is
// put over it, and Env, its variables, if there are any; the data of these and of all that
// they name. What cannot be read is not there.
type Project struct {
	Main []string
	Env  string
	Data map[string][]byte
}

// Files reads a project for what it is read from.
func Files(src manifest.Source) Project {
	data := map[string][]byte{src.Name: src.Data}
	recorded := src
	if src.Open != nil {
		recorded.Open = func(name string) ([]byte, error) {
			b, err := src.Open(name)
			if err == nil {
				data[name] = b
			}
			return b, err
		}
	}
	p := load(recorded)
	out := Project{Main: []string{src.Name}, Data: data}
	over := src.Over
	if name := p.overrideOf(src.Name); name != "" && over == nil {
		over = []string{name}
	}
	for _, name := range over {
		if _, ok := data[name]; ok {
			out.Main = append(out.Main, name)
		}
	}
	if env := path.Join(path.Dir(src.Name), ".env"); data[env] != nil {
		out.Env = env
	}
	return out
}
