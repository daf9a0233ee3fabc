package report

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/leastcap/leastcap/caps"
)

// A Conversion writes a set in the words of one place where containers are defined: drop
// everything, add these.
type Conversion struct {
	Name string
	// Title is for people; Engine the name of the rules that apply there, "" if none do.
	Title, Engine string
	lines         func(set caps.Set) []string
}

// Conversions are all that are known.
func Conversions() []Conversion { return conversions }

var conversions = []Conversion{
	{"docker", "flags of docker run", "docker", flagLine},
	{"podman", "flags of podman run", "podman", flagLine},
	{"nerdctl", "flags of nerdctl run", "containerd", flagLine},
	{"compose", "keys of a Compose service", "docker", func(set caps.Set) []string {
		return append([]string{"cap_drop:", "  - ALL"}, yamlList("cap_add:", "  - ", set)...)
	}},
	{"kubernetes", "a container's securityContext", "containerd", func(set caps.Set) []string {
		lines := []string{"securityContext:", "  capabilities:", "    drop:", "    - ALL"}
		return append(lines, yamlList("    add:", "    - ", set)...)
	}},
	{"oci", "the process's capabilities in config.json", "", ociSets},
	{"systemd", "lines of a [Service] section", "", func(set caps.Set) []string {
		if set.Empty() {
			// The empty string resets it to nothing: systemd.exec(5).
			return []string{"CapabilityBoundingSet="}
		}
		return []string{"CapabilityBoundingSet=" + strings.Join(set.Names(), " ")}
	}},
	{"quadlet", "lines of a [Container] section", "podman", func(set caps.Set) []string {
		lines := []string{"DropCapability=all"}
		if !set.Empty() {
			lines = append(lines, "AddCapability="+strings.Join(set.Names(), " "))
		}
		return lines
	}},
	{"dockerfile", "a label that Podman and leastcap heed", "podman", func(set caps.Set) []string {
		return []string{fmt.Sprintf("LABEL io.containers.capabilities=%q", strings.Join(set.Docker(), ","))}
	}},
	{"devcontainer", "a member of devcontainer.json", "docker", func(set caps.Set) []string {
		return []string{`"runArgs": ` + jsonList(flagWords(set))} // capAdd can only add
	}},
	{"github", "a job's container in a workflow of GitHub Actions", "docker", func(set caps.Set) []string {
		return []string{"options: " + strings.Join(flagWords(set), " ")}
	}},
	{"nomad", "the config of a task of Nomad's docker driver", "docker", func(set caps.Set) []string {
		lines := []string{`cap_drop = ["all"]`}
		if !set.Empty() {
			lines = append(lines, "cap_add  = "+jsonList(strings.Split(set.String(), ",")))
		}
		return lines
	}},
	{"ecs", "a member of a container definition of Amazon ECS", "docker", func(set caps.Set) []string {
		return []string{fmt.Sprintf(`"linuxParameters": {"capabilities": {"add": %s, "drop": ["ALL"]}}`, jsonList(set.Docker()))}
	}},
	{"libcap", "the text of setcap and capsh", "", func(set caps.Set) []string {
		return []string{caps.Text{Effective: set, Permitted: set}.String()}
	}},
	{"names", "one name a line", "", func(set caps.Set) []string { return set.Names() }},
	{"mask", "as in /proc/PID/status", "", func(set caps.Set) []string { return []string{set.Hex()} }},
}

// WriteTo writes a set.
func (c Conversion) WriteTo(w io.Writer, set caps.Set) error {
	text := ""
	for _, line := range c.lines(set) {
		text += line + "\n"
	}
	_, err := io.WriteString(w, text)
	return err
}

func flagWords(set caps.Set) []string {
	words := []string{"--cap-drop=ALL"}
	for _, name := range set.Docker() {
		words = append(words, "--cap-add="+name)
	}
	return words
}

func flagLine(set caps.Set) []string { return []string{strings.Join(flagWords(set), " ")} }

func yamlList(key, item string, set caps.Set) []string {
	if set.Empty() {
		return nil
	}
	lines := []string{key}
	for _, name := range set.Docker() {
		lines = append(lines, item+name)
	}
	return lines
}

func jsonList(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = fmt.Sprintf("%q", w)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// ociSets are those that engines make: bounding, effective and permitted alike, nothing
// inheritable or ambient (CVE-2022-24769).
func ociSets(set caps.Set) []string {
	data, err := json.MarshalIndent(map[string]any{
		"bounding": set, "effective": set, "permitted": set, "inheritable": caps.Set(0), "ambient": caps.Set(0),
	}, "", "  ")
	if err != nil {
		panic(err) // sets can always be written
	}
	lines := strings.Split(string(data), "\n")
	lines[0] = `"capabilities": ` + lines[0]
	return lines
}
