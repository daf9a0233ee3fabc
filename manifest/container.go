package manifest

import "github.com/leastcap/leastcap/caps"

// A Container is one container (service, process, unit) as a file defines it.
type Container struct {
	// Format is the file's: "compose", "kubernetes".
	Format string
	// Path says which of the file's containers it is. It is unique in the file and does
	// not change when the file is edited: "services.web", or for the second document of a
	// file "#2 spec.template.spec.containers.nginx".
	Path string
	// Name is the container's own: "web", "nginx".
	Name string
	// Kind says what it is in the words of its format: "service", "container", "init
	// container", "sidecar container", "ephemeral container", "unit", "step".
	Kind string
	// Owner is what it is part of: a workload, a project. Nil if it stands alone.
	Owner *Owner
	// At is where the definition begins: the name, or the key that has it.
	At Pos
	// Target is what will run it.
	Target Target

	Image Text
	Build Text // where the image is built from, "." of a Compose file

	// Entrypoint and Command are what is started, each in the place of the image's own: the
	// program with its first arguments, and the arguments behind them. One that is known
	// and has no words takes the image's away. Who sets the first gets nothing of the image's
	// second: Docker, Podman, Compose and Kubernetes agree on that.
	Entrypoint, Command Args
	// Env are the variables that the container has beside its image's. One without a name
	// stands for those of a source that is not there, and is not known.
	Env     []Pair
	WorkDir Text

	// Caps are the requests in the order of the file: lists to add and drop, or the five
	// sets of formats that state those.
	Caps []Request
	// CapsWhy says why the requests are not all known, "" if they are: the list itself
	// is a variable, or comes from a file that is not there.
	CapsWhy string
	// Stated are the sets, if the format states them and no engine's rules are between: an
	// OCI bundle, a systemd unit. Nil in all others.
	Stated *caps.State

	User         Text // as the format has it: "1000:1000", "www-data"
	NonRoot      Bool // the engine refuses to start it as root: Kubernetes' runAsNonRoot
	Privileged   Bool
	NoNewPrivs   Bool // Kubernetes' allowPrivilegeEscalation, negated
	ReadOnlyRoot Bool

	// Namespaces are those that are not its own, in the order of the file.
	Namespaces []Namespace
	Mounts     []Mount
	Devices    []Device
	Ports      []Port
	Labels     []Pair
	Sysctls    []Pair
	// Seccomp, AppArmor, SELinux and ProcMount are in the words of the format:
	// "unconfined", "RuntimeDefault", "localhost/p.json"; "type:spc_t"; "Unmasked".
	Seccomp, AppArmor, SELinux, ProcMount Text

	// Shared are the places outside the container's own definition that its facts come
	// from, or that other containers take from it: anchors, merges, extends. Changing one
	// changes them all.
	Shared []Shared
	// Facts are what only this format has and a rule may want to know, by the format's
	// own name: "profiles", "hostProcess", "restart".
	Facts []Pair
}

// An Owner is what a container is part of.
type Owner struct {
	APIVersion, Kind, Namespace, Name string
	At                                Pos
	// Volumes are those that are defined for all containers, mounted or not.
	Volumes []Mount
	// Source is the template that it was rendered from, as `helm template` notes it.
	Source string
}

// A Set says which of a process's sets a request is about.
type Set uint8

const (
	// Engine: what the container may have; the engine makes sets of it by its rules.
	Engine Set = iota
	Bounding
	Effective
	Permitted
	Inheritable
	Ambient
)

func (s Set) String() string {
	return [...]string{"engine", "bounding", "effective", "permitted", "inheritable", "ambient"}[s]
}

// An Action says what a request does to its set.
type Action uint8

const (
	Add Action = iota
	Drop
)

func (a Action) String() string { return [...]string{"add", "drop"}[a] }

// A Request is one entry of a list of capabilities.
type Request struct {
	Action Action
	Set    Set
	// Word is the entry as written: "NET_ADMIN", "cap_net_admin", "all". Its place is the
	// word with its quotes.
	Word Text
	// List is where the list is that it stands in.
	List Pos
}

// A Namespace is one that the container shares.
type Namespace struct {
	Kind string // pid, net, ipc, user, uts, cgroup, mnt
	// With is "host", or what else it shares with: "container:x", "service:db", "pod".
	With Text
}

// A Mount puts something into the container's file system.
type Mount struct {
	Type     string // bind, volume, tmpfs; Kubernetes' own: hostPath, emptyDir, secret, …
	Source   Text   // a path of the host, a volume's name
	Target   Text
	ReadOnly Bool
	Name     string // the volume's, where it has one beside Source
	At       Pos
}

// A Device is one of the host's.
type Device struct {
	Host, Container Text
	Rights          string // "rwm"
	At              Pos
}

// A Port is published or listened on.
type Port struct {
	// Container and Host are numbers, 0 if unknown or, of Host, not published.
	Container, Host int
	Last            int // the last of a range of Container's, 0 if it is one
	HostIP          string
	Protocol        string // tcp, udp, sctp; "" is tcp
	Raw             string
	At              Pos
}

// A Pair is a key and its value.
type Pair struct {
	Key   string
	KeyAt Pos
	Value Text
}

// A Shared place is one that several containers take facts from.
type Shared struct {
	Kind string // "anchor", "merge", "extends", "include", "template"
	Name string
	At   Pos
	// With are the paths of the other containers that a change would reach.
	With []string
}

// A Target is the engine that will run a container.
type Target struct {
	// Engines are names of package engine/rules, or "systemd", the likeliest first.
	Engines []string
	Version string // the first one's, "" for the newest
	// Default is what a container gets that asks for nothing, where what starts the engine
	// changes that; nil for the engine's own.
	Default *caps.Set
	// Chosen says that the user named it; else Why says what it was inferred from.
	Chosen bool
	Why    string
}

// Sensitive are the mounts of the host's file system that matter, with the reason.
func (c *Container) Sensitive() []SensitiveMount {
	var list []SensitiveMount
	for _, m := range c.Mounts {
		if m.Type != "bind" && m.Type != "hostPath" {
			continue
		}
		if p, ok := m.Source.Get(); ok {
			if why := SensitivePath(p); why != "" {
				list = append(list, SensitiveMount{m, why})
			}
		}
	}
	return list
}

// Shares says whether the container shares a namespace with the host.
func (c *Container) Shares(kind string) bool { return Shares(c.Namespaces, kind) }

// Shares says whether the host's namespace of that kind is among them.
func Shares(list []Namespace, kind string) bool {
	for _, n := range list {
		if n.Kind == kind && Is(n.With, "host") {
			return true
		}
	}
	return false
}

// An Origin says where something in a rendered manifest comes from.
type Origin struct {
	// Template is the place in the template, as near as can be told.
	Template Pos
	// Keys are those of values.yaml that the template puts there: several where it chooses.
	Keys []ValuesKey
	// Why says why no key can be named, "" if one is.
	Why string
}

// A ValuesKey is a key of a chart's values, as helm's --set takes it.
type ValuesKey struct {
	Key string
	// Written says that values.yaml has it; At is then where, else the nearest above it that
	// is there.
	Written bool
	At      Pos
}
