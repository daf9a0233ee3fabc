package cli

import (
	"encoding/csv"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/docker/go-units"

	"github.com/leastcap/leastcap/engine/bundle"
)

// mountField is what a key of --mount says. Which kind of mount it is for is in its name.
type mountField struct {
	alone bool // without a value it is true
	set   func(m *mountLine, value string) error
}

// mountLine is a --mount while its fields are read.
type mountLine struct {
	bundle.Mount
	kind      string   // what was typed, in small letters
	of        []string // the kinds that there were options for
	create    bool     // bind-create-src
	recursive string   // bind-recursive
	spread    string   // bind-propagation
	size      int64    // tmpfs-size
	mode      uint64   // tmpfs-mode
	engine    bool     // it needs the engine's volume drivers or subpaths
}

// mountFields are docker/cli's: opts/mount.go, which a test compares with.
var mountFields = sync.OnceValue(func() map[string]mountField {
	return map[string]mountField{
		"type":             {false, func(m *mountLine, v string) error { m.kind = strings.ToLower(v); return nil }},
		"source":           {false, mountSource},
		"src":              {false, mountSource},
		"target":           {false, mountTarget},
		"dst":              {false, mountTarget},
		"destination":      {false, mountTarget},
		"readonly":         {true, mountReadOnly},
		"ro":               {true, mountReadOnly},
		"consistency":      {false, func(*mountLine, string) error { return nil }}, // macOS needs it
		"bind-propagation": {false, func(m *mountLine, v string) error { m.spread = strings.ToLower(v); return nil }},
		"bind-recursive": {false, func(m *mountLine, v string) error {
			if !slices.Contains([]string{"enabled", "disabled", "writable", "readonly"}, v) {
				return errors.New("must be enabled, disabled, writable or readonly")
			}
			m.recursive = v
			return nil
		}},
		"bind-create-src": {true, func(m *mountLine, v string) (err error) { m.create, err = mountBool(v); return err }},
		"volume-nocopy":   {true, func(m *mountLine, v string) (err error) { m.NoCopy, err = mountBool(v); return err }},
		"volume-subpath":  {false, mountEngine},
		"volume-driver":   {false, mountEngine},
		"volume-opt":      {false, mountEngine},
		"volume-label":    {false, func(*mountLine, string) error { return nil }},
		"image-subpath":   {false, mountEngine},
		"tmpfs-size":      {false, func(m *mountLine, v string) (err error) { m.size, err = units.RAMInBytes(v); return err }},
		"tmpfs-mode":      {false, func(m *mountLine, v string) (err error) { m.mode, err = strconv.ParseUint(v, 8, 32); return err }},
	}
})

func mountSource(m *mountLine, v string) error { m.Source = v; return nil }
func mountTarget(m *mountLine, v string) error { m.Target = v; return nil }
func mountEngine(m *mountLine, _ string) error { m.engine = true; return nil }

func mountReadOnly(m *mountLine, v string) (err error) {
	m.ReadOnly, err = mountBool(v)
	return err
}

func mountBool(v string) (bool, error) {
	switch v {
	case "", "1", "true":
		return true, nil
	case "0", "false":
		return false, nil
	}
	return false, errors.New("must be true or false")
}

// setMount reads a --mount: fields KEY=VALUE with commas between them, as in CSV.
func setMount(c *bundle.Container, value string) error {
	fields, err := csv.NewReader(strings.NewReader(strings.TrimSpace(value))).Read()
	if err != nil {
		return fmt.Errorf("must be KEY=VALUE,…: %w", err)
	}
	m := mountLine{kind: bundle.Volume}
	for _, text := range fields {
		key, v, hasValue := strings.Cut(text, "=")
		if strings.TrimSpace(key) != key || strings.TrimSpace(v) != v {
			return fmt.Errorf("%q has white space in it", text)
		}
		key = strings.ToLower(key)
		field, ok := mountFields()[key]
		switch {
		case !ok && key == "bind-nonrecursive":
			return errors.New("bind-nonrecursive is no more: use bind-recursive=disabled")
		case !ok:
			return fmt.Errorf("option %q is not known", key)
		case hasValue && v == "", !hasValue && !field.alone:
			return fmt.Errorf("%q needs a value: %s=VALUE", key, key)
		}
		if kind, _, found := strings.Cut(key, "-"); found {
			m.of = append(m.of, kind)
		}
		if err := field.set(&m, v); err != nil {
			return fmt.Errorf("%s: %w", text, err)
		}
	}
	if err := m.check(); err != nil {
		return err
	}
	m.Type, m.MustExist = m.kind, !m.create
	if m.spread != "" {
		m.Options = append(m.Options, m.spread)
	}
	if m.size > 0 {
		m.Options = append(m.Options, fmt.Sprintf("size=%d", m.size))
	}
	if m.mode != 0 {
		m.Options = append(m.Options, fmt.Sprintf("mode=%o", m.mode))
	}
	if m.kind == bundle.Bind {
		if m.Source, err = filepath.Abs(m.Source); err != nil {
			return err
		}
	} else if strings.HasPrefix(m.Source, ".") {
		if m.Source, err = filepath.Abs(m.Source); err != nil {
			return err
		}
	}
	c.Mounts = append(c.Mounts, m.Mount)
	return nil
}

func (m *mountLine) check() error {
	for _, kind := range m.of {
		if kind != m.kind {
			return fmt.Errorf("options %s-… do not go with type %q", kind, m.kind)
		}
	}
	switch {
	case m.recursive != "" && m.recursive != "enabled":
		return fmt.Errorf("only the engine itself has bind-recursive=%s", m.recursive)
	case m.engine && m.kind == bundle.Volume:
		return errors.New("only the engine itself has volume drivers and subpaths")
	case m.kind != bundle.Bind && m.kind != bundle.Volume && m.kind != bundle.Tmpfs:
		return fmt.Errorf("only the engine itself has mounts of type %s", m.kind)
	}
	return nil
}
