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

// packaged says that a file is a package's: what is changed in it is gone with the next
// update.
func packaged(name string) bool {
	return strings.HasPrefix(name, "/usr/lib/systemd/") || strings.HasPrefix(name, "/lib/systemd/")
}

type dropIn struct {
	name string
	data []byte
}

// dropIns are a unit's, in the order in which systemd reads them: by their own names,
// whatever directory they are in. Of two of one name that counts which is in the stronger
// place, and there in the directory of the more specific name; the one of all units of a
// kind is the weakest (systemd.unit(5); src/shared/dropin.c unit_file_find_dropin_paths).
// Where directories cannot be listed it is the one that `systemctl edit` writes.
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
	dir := path.Dir(src.Name)
	places := []string{dir}
	if slices.Contains(unitPaths, dir) {
		places = unitPaths
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
	unit := path.Base(src.Name)
	for _, place := range places {
		for _, name := range dropInDirs(unit) {
			look(path.Join(place, name))
		}
	}
	if kind := path.Ext(unit); kind != "" {
		for _, place := range places {
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

// dropInDirs are the directories of a unit of that name, the most specific first: for
// a-b@x.service a-b@x.service.d, a-b@.service.d, a-@.service.d and a-@x.service.d
// (unit_file_find_dirs).
func dropInDirs(unit string) []string {
	kind := path.Ext(unit)
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

// ofUnitBeside says that the source is a drop-in of a unit that lies beside: what it says
// is read with that.
func ofUnitBeside(src manifest.Source) bool {
	unit, ok := strings.CutSuffix(path.Dir(src.Name), ".d")
	if !ok || src.Open == nil || path.Ext(src.Name) != ".conf" {
		return false
	}
	_, err := src.Open(unit)
	return err == nil
}
