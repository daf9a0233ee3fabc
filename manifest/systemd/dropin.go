package systemd

import (
	"path"
	"slices"
	"strings"

	"github.com/leastcap/leastcap/manifest"
)

// maxDropIns is how many of a unit are read; nobody has as many.
const maxDropIns = 100

// unitPaths are where the system's units lie, the strongest first: systemd.unit(5), "Unit
// File Load Path".
var unitPaths = []string{
	"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system",
}

// quadletPaths are where Podman looks for Quadlet files, the strongest first:
// podman-systemd.unit(5), "Podman rootful unit search path".
var quadletPaths = []string{"/run/containers/systemd", "/etc/containers/systemd", "/usr/share/containers/systemd"}

// quadletKinds are the kinds of file that Quadlet makes units of.
var quadletKinds = []string{".container", ".pod", ".kube", ".volume", ".network", ".image", ".build", ".artifact"}

// packaged says that a file is a package's: what is changed in it is gone with the next
// update.
func packaged(name string) bool {
	return strings.HasPrefix(name, "/usr/lib/systemd/") || strings.HasPrefix(name, "/lib/systemd/") || strings.HasPrefix(name, "/usr/share/containers/systemd/")
}

type dropIn struct {
	name string
	data []byte
}

// dropIns are a unit's, in the order in which systemd reads them: by their own names,
// whatever directory they are in. Of two of one name that counts which is in the stronger
// place, and there in the directory of the more specific name; the one of all units of a
// kind is the weakest (systemd.unit(5); src/shared/dropin.c unit_file_find_dropin_paths).
// Where directories cannot be listed it is the one that `systemctl edit` writes. Podman does
// the same for Quadlet files since 5.0, with directories for several since 5.3
// (cmd/quadlet/main.go loadUnitDropins(); containers/podman#23158).
func dropIns(src manifest.Source) []dropIn {
	if src.Open == nil || path.Ext(src.Name) == ".conf" {
		return nil
	}
	if src.List == nil {
		name := src.Name + ".d/override.conf"
		if data, err := src.Open(name); err == nil && len(data) <= manifest.MaxSize {
			return []dropIn{{name, data}}
		}
		return nil
	}
	found := map[string]string{} // by their own names
	look := func(dir string) {
		files, _ := src.List(dir) // most are not there
		for _, file := range files {
			if _, ok := found[file]; !ok && path.Ext(file) == ".conf" {
				found[file] = path.Join(dir, file)
			}
		}
	}
	unit, kind := path.Base(src.Name), path.Ext(src.Name)
	for _, place := range places(src.Name) {
		for _, name := range dropInDirs(unit) {
			look(path.Join(place, name))
		}
		if kind != "" && ofQuadlet(unit) {
			look(path.Join(place, kind[1:]+".d"))
		}
	}
	if kind != "" && !ofQuadlet(unit) {
		for _, place := range places(src.Name) {
			look(path.Join(place, kind[1:]+".d"))
		}
	}
	var names []string
	for name := range found {
		names = append(names, name)
	}
	slices.Sort(names)
	var list []dropIn
	for _, name := range names[:min(len(names), maxDropIns)] {
		if data, err := src.Open(found[name]); err == nil && len(data) <= manifest.MaxSize {
			list = append(list, dropIn{found[name], data})
		}
	}
	return list
}

// Files are a unit and its drop-ins as one directory of units could have them: NAME, and
// NAME.d/…. It is for those who ask systemd itself.
func Files(src manifest.Source) map[string][]byte {
	unit := path.Base(src.Name)
	files := map[string][]byte{unit: src.Data}
	for _, d := range dropIns(src) {
		files[path.Join(unit+".d", path.Base(d.name))] = d.data
	}
	return files
}

// places are the directories whose drop-ins count for a unit. Quadlet reads the directories
// below its own, too (cmd/quadlet/main.go appendSubPaths()): of those the ones above the
// file are taken.
func places(name string) []string {
	dir := path.Dir(name)
	list := []string{dir}
	if !ofQuadlet(name) {
		if slices.Contains(unitPaths, dir) {
			list = unitPaths
		}
		return list
	}
	top, rest, ok := strings.Cut(dir+"/", "/containers/systemd/")
	if !ok {
		return list
	}
	top += "/containers/systemd"
	if users, ok := strings.CutPrefix(rest, "users/"); ok {
		top, rest = top+"/users", users
	}
	if rest != "" {
		list = append(list, top)
		for i := range rest[:len(rest)-1] {
			if rest[i] == '/' {
				list = append(list, path.Join(top, rest[:i]))
			}
		}
		slices.Sort(list)
	}
	if i := slices.Index(quadletPaths, top); i >= 0 {
		list = slices.Concat(quadletPaths[:i], list, quadletPaths[i+1:])
	}
	return list
}

func ofQuadlet(unit string) bool { return slices.Contains(quadletKinds, path.Ext(unit)) }

func isDropIn(name string) bool {
	return path.Ext(name) == ".conf" && strings.HasSuffix(path.Dir(name), ".d")
}

// dropInDirs are the directories of a unit of that name, the most specific first: for
// a-b@x.service a-b@x.service.d, a-b@.service.d, a-@.service.d and a-@x.service.d
// (unit_file_find_dirs). Quadlet does not shorten an instance's name, and takes a-.service.d
// for templates, too (pkg/systemd/parser/unitfile.go GetUnitDropinPaths()).
func dropInDirs(unit string) []string {
	kind := path.Ext(unit)
	if ofQuadlet(unit) {
		return quadletDropInDirs(strings.TrimSuffix(unit, kind), kind)
	}
	var dirs []string
	var find func(name string)
	find = func(name string) {
		if slices.Contains(dirs, name+kind+".d") {
			return
		}
		dirs = append(dirs, name+kind+".d")
		prefix, instance, templated := strings.Cut(name, "@")
		if instance != "" {
			find(prefix + "@")
		}
		i := strings.LastIndexByte(strings.TrimSuffix(prefix, "-"), '-')
		if i <= 0 {
			return
		}
		prefix = prefix[:i+1]
		if templated {
			prefix += "@" + instance
		}
		find(prefix)
	}
	find(strings.TrimSuffix(unit, kind))
	return dirs
}

func quadletDropInDirs(name, kind string) []string {
	dirs := []string{name + kind + ".d"}
	prefix, instance, templated := strings.Cut(name, "@")
	if instance != "" {
		dirs = append(dirs, prefix+"@"+kind+".d")
	}
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != '-' {
			continue
		}
		if templated {
			dirs = append(dirs, prefix[:i+1]+"@"+kind+".d")
		}
		dirs = append(dirs, prefix[:i+1]+kind+".d")
	}
	return dirs
}

// ofUnitBeside says that the source is a drop-in of a unit that lies beside: what it says
// is read with that.
func ofUnitBeside(src manifest.Source) bool {
	dir := path.Dir(src.Name)
	unit, ok := strings.CutSuffix(dir, ".d")
	if !ok || src.Open == nil || path.Ext(src.Name) != ".conf" {
		return false
	}
	if _, err := src.Open(unit); err == nil {
		return true
	}
	if src.List == nil {
		return false
	}
	name := path.Base(dir)
	beside, _ := src.List(path.Dir(dir))
	return slices.ContainsFunc(beside, func(unit string) bool {
		kind := path.Ext(unit)
		return kind != "" && kind != ".d" && strings.HasSuffix(name, kind[1:]+".d") &&
			(name == kind[1:]+".d" || slices.Contains(dropInDirs(unit), name))
	})
}
