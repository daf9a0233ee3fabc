//go:build cgo

package embedded

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"slices"

	"github.com/opencontainers/runc/libcontainer/capabilities"
	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runc/libcontainer/configs/validate"
	"github.com/opencontainers/runc/libcontainer/specconv"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/manifest/reading"
)

// ReadConfig is what runc reads of a bundle's config.json before and after an edit. The
// installed runc cannot be asked: none of its commands reads a configuration without making a
// container of it (opencontainers/runc main.go, the list of commands; "runc features" reads
// none). So it is asked here, by the functions that it calls: main package's loadSpec is
// encoding/json, and then come specconv and validate.
func ReadConfig(before, after []byte) (*reading.Answer, error) {
	a := &reading.Answer{Whole: true}
	was, err := readConfig(before)
	if err != nil {
		a.Before = unreadConfig(err)
		return a, nil
	}
	is, err := readConfig(after)
	if err != nil {
		a.After = unreadConfig(err)
		return a, nil
	}
	a.Before, a.After = was.reading, is.reading
	switch path := reading.Difference(was.rest, is.rest); {
	case path != "":
		a.Changed = []string{path}
	case !reflect.DeepEqual(was.config, is.config):
		a.Changed = []string{"the configuration that libcontainer makes of it"}
	}
	return a, nil
}

func unreadConfig(err error) reading.Reading {
	return reading.Reading{Problems: []reading.Problem{{Text: err.Error(), Unread: true}}}
}

type readBundle struct {
	reading reading.Reading
	config  *configs.Config // without what the reading has
	rest    any             // of the specification, so too
}

func readConfig(data []byte) (*readBundle, error) {
	var spec specs.Spec
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(&spec); err != nil {
		return nil, err
	}
	if spec.Process == nil {
		return nil, errors.New("it has no process")
	}
	b := &readBundle{}
	shown := spec
	process := *spec.Process
	process.Capabilities, process.NoNewPrivileges = nil, false
	shown.Process = &process
	text, err := json.Marshal(shown)
	if err == nil {
		err = json.Unmarshal(text, &b.rest)
	}
	if err != nil {
		return nil, err
	}
	// What is on this machine does not matter: whether the root directory is there, and which
	// users a namespace maps that a container is to join, for which a process would be made
	// (libcontainer/internal/userns).
	spec.Root = &specs.Root{Path: "/"}
	if spec.Linux != nil {
		linux := *spec.Linux
		linux.Namespaces = slices.DeleteFunc(slices.Clone(linux.Namespaces), func(n specs.LinuxNamespace) bool {
			return n.Type == specs.UserNamespace && n.Path != ""
		})
		spec.Linux = &linux
	}
	if b.config, err = specconv.CreateLibcontainerConfig(&specconv.CreateOpts{CgroupName: "config", Spec: &spec}); err != nil {
		return nil, err
	}
	if err := validate.Validate(b.config); err != nil {
		b.reading.Problems = append(b.reading.Problems, reading.Problem{Text: err.Error()})
	}
	c := reading.Container{Path: "process", Name: "process", State: &caps.State{}, NoNewPrivs: b.config.NoNewPrivileges}
	if stated := b.config.Capabilities; stated != nil {
		for _, set := range []struct {
			words []string
			to    *caps.Set
		}{
			{stated.Bounding, &c.State.Bounding}, {stated.Effective, &c.State.Effective}, {stated.Permitted, &c.State.Permitted},
			{stated.Inheritable, &c.State.Inheritable}, {stated.Ambient, &c.State.Ambient},
		} {
			*set.to = knownToRunc(set.words)
		}
	}
	b.reading.Containers = []reading.Container{c}
	b.config.Capabilities, b.config.NoNewPrivileges = nil, false
	slices.Sort(b.config.Labels) // made of a map
	return b, nil
}

// knownToRunc are the capabilities that runc takes for such, of the names in a list: those in
// its table as they are written there (libcontainer/capabilities capSlice).
func knownToRunc(words []string) caps.Set {
	var set caps.Set
	for _, known := range capabilities.KnownCapabilities() {
		if c, err := caps.ParseCap(known); err == nil && slices.Contains(words, known) {
			set = set.With(c)
		}
	}
	return set
}
