package docker

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/cli/cli/config"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/engine/bundle"
	"github.com/leastcap/leastcap/engine/rules"
	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/usage"
)

// ownerLabel is engine/cli's: either removes what a dead process of the other left.
const ownerLabel = "io.leastcap.owner"

// Request is a workload: what the user asked for, without what the image adds.
type Request struct {
	Container *bundle.Container
	// Entrypoint is the user's, nil for the image's.
	Entrypoint      []string
	CapAdd, CapDrop []string // as typed
	Subject         usage.Subject
	// Use spells a result in the words that the user gave.
	Use func(set caps.Set, unconfined bool) usage.Use
}

// Workload is a container that can be run many times.
type Workload struct {
	Request
	engine *Engine
	owner  string
}

var _ engine.Workload = (*Workload)(nil)

// Workload prepares to run a container.
func (e *Engine) Workload(r Request) (*Workload, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("host name: %w", err)
	}
	return &Workload{r, e, host + "/" + string(proc.Self())}, nil
}

// Inspect implements [engine.Workload].
func (w *Workload) Inspect(context.Context) (usage.Subject, error) { return w.Subject, nil }

// Privileged implements [engine.Workload].
func (w *Workload) Privileged() bool { return w.Container.Privileged }

// Today gives what Docker gives the container, by its rules; Podman's socket gives less.
func (w *Workload) Today() (caps.Set, error) {
	r, err := rules.For("docker")
	if err != nil {
		return 0, err
	}
	result, err := r.Apply(rules.Request{Add: w.CapAdd, Drop: w.CapDrop, Privileged: w.Container.Privileged, User: w.Container.User})
	return result.Runtime.Bounding, err
}

// Persistent implements [engine.Workload].
func (w *Workload) Persistent(fresh bool) bool { return w.Container.Persistent(fresh) }

// Volumes implements [engine.Workload]: the user's, and those that the image declares.
func (w *Workload) Volumes(ctx context.Context) (bool, error) {
	if w.Container.HasVolumes() {
		return true, nil
	}
	img, err := w.engine.api.inspectImage(ctx, w.Container.Image)
	return err == nil && len(img.Config.Volumes) > 0, ctx.Err()
}

// Exclusive implements [engine.Workload].
func (w *Workload) Exclusive() string {
	if w.Container.Name != "" {
		return "the line gives it a name"
	}
	return w.Container.Exclusive()
}

// Remarks implements [engine.Workload].
func (w *Workload) Remarks() []string { return w.Container.Remarks() }

// Use implements [engine.Workload].
func (w *Workload) Use(set caps.Set, unconfined bool) usage.Use {
	return w.Request.Use(set, unconfined)
}

// Prepare implements [engine.Workload].
func (w *Workload) Prepare(ctx context.Context, g engine.Grant) (engine.Instance, error) {
	o, err := w.options(g)
	if err != nil {
		return nil, err
	}
	api, name := w.engine.api, w.Container.Name
	if before, ok := g.After.(*instance); ok {
		o.HostConfig.VolumesFrom = []string{before.id}
		o.HostConfig.Mounts = slices.DeleteFunc(o.HostConfig.Mounts, func(m mount.Mount) bool { return m.Type == mount.TypeVolume })
		o.HostConfig.Binds = slices.DeleteFunc(o.HostConfig.Binds, func(b string) bool { return !strings.HasPrefix(b, "/") })
		o.Config.Volumes = nil
		if name != "" {
			if err := api.rename(ctx, before.id, "leastcap-before-"+before.id[:12]); err != nil {
				return nil, w.explain(err)
			}
		}
	}
	id, err := api.create(ctx, name, o)
	if refusedWith(err, http.StatusNotFound) {
		if err := w.engine.Pull(ctx, w.Container.Image); err != nil {
			return nil, err
		}
		id, err = api.create(ctx, name, o)
	}
	if err != nil {
		return nil, w.explain(err)
	}
	return &instance{w: w, id: id, exited: make(chan struct{})}, nil
}

// Pull fetches an image with the user's docker credentials.
func (e *Engine) Pull(ctx context.Context, image string) error {
	registry, repository, version := imageName(image)
	var auth string
	if file, err := config.Load(""); err == nil {
		domain := registry
		if domain == hub {
			domain = "https://index.docker.io/v1/" // docker/cli cli/config/configfile
		}
		if c, err := file.GetAuthConfig(domain); err == nil && (c.Username != "" || c.IdentityToken != "" || c.RegistryToken != "") {
			if data, err := json.Marshal(c); err == nil {
				auth = base64.URLEncoding.EncodeToString(data)
			}
		}
	}
	name := registry + "/" + repository
	mark := ":"
	if strings.Contains(version, ":") { // a digest
		mark = "@"
	}
	fmt.Fprintf(e.progress, "pulling %s%s%s\n", name, mark, version)
	err := e.api.pull(ctx, name, version, auth)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &engine.Error{Problem: fmt.Sprintf("image %q was not found, here or in its registry", image), Reason: err.Error(), Hint: "check the name, build it, or pull it first"}
	}
	return nil
}

// options makes the API's request.
func (w *Workload) options(g engine.Grant) (*container.CreateRequest, error) {
	c := w.Container
	cfg := &container.Config{
		Image: c.Image, Hostname: c.Hostname, Domainname: c.Domainname, User: c.User, Env: c.Env, Cmd: c.Args, Entrypoint: w.Entrypoint,
		WorkingDir: c.Dir, StopSignal: c.Stop, Labels: map[string]string{}, AttachStdout: true, AttachStderr: true,
	}
	for k, v := range c.Labels {
		cfg.Labels[k] = v
	}
	cfg.Labels[ownerLabel] = w.owner
	if w.Entrypoint != nil && len(w.Entrypoint) == 0 {
		cfg.Entrypoint = []string{""} // takes the image's away (docker/cli, container/opts.go)
	}
	if c.StopTimeout >= 0 {
		seconds := int(c.StopTimeout / time.Second)
		cfg.StopTimeout = &seconds
	}
	if h := c.Health; h != nil {
		cfg.Healthcheck = &container.HealthConfig{Test: []string{"NONE"}}
		if len(h.Test) > 0 {
			test := append([]string{"CMD"}, h.Test...)
			if len(h.Test) == 3 && h.Test[0] == "/bin/sh" && h.Test[1] == "-c" {
				test = []string{"CMD-SHELL", h.Test[2]} // as it was typed
			}
			cfg.Healthcheck = &container.HealthConfig{Test: test, Interval: h.Interval, Timeout: h.Timeout, StartPeriod: h.Start, StartInterval: h.StartEvery, Retries: h.Retries}
		}
	}
	host := &container.HostConfig{
		NetworkMode: container.NetworkMode(orDefault(c.Network, "default")), PidMode: container.PidMode(c.PID), IpcMode: container.IpcMode(c.IPC),
		UTSMode: container.UTSMode(c.UTS), CgroupnsMode: container.CgroupnsMode(c.Cgroupns), ReadonlyRootfs: c.NoWrite, Privileged: c.Privileged,
		GroupAdd: c.Groups, Sysctls: c.Sysctls, ShmSize: c.ShmSize, DNSOptions: c.DNS.Options, DNSSearch: c.DNS.Search,
		CapAdd: w.CapAdd, CapDrop: w.CapDrop, RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyDisabled},
	}
	if !g.Baseline {
		host.CapDrop, host.CapAdd, host.Privileged = []string{"ALL"}, g.Set.Docker(), false
	}
	if c.OOMScore != nil {
		host.OomScoreAdj = *c.OOMScore
	}
	for _, s := range c.DNS.Servers {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return nil, err
		}
		host.DNS = append(host.DNS, a)
	}
	for _, h := range c.Hosts {
		host.ExtraHosts = append(host.ExtraHosts, h.Name+":"+h.IP)
	}
	w.security(host, g)
	if err := ports(c, cfg, host); err != nil {
		return nil, err
	}
	mounts(c, cfg, host, g.Fresh)
	r := c.Resources
	host.Resources = container.Resources{
		Memory: r.Memory, MemorySwap: r.MemorySwap, MemoryReservation: r.MemoryReservation, NanoCPUs: r.NanoCPUs, CPUShares: int64(r.CPUShares),
		CPUPeriod: r.CPUPeriod, CPUQuota: r.CPUQuota, CpusetCpus: r.CPUSet, CpusetMems: r.MemSet,
	}
	if r.Pids != 0 {
		host.Resources.PidsLimit = &r.Pids
	}
	limits := slices.Clone(c.Rlimits)
	slices.SortFunc(limits, func(a, b bundle.Rlimit) int { return strings.Compare(a.Name, b.Name) })
	for _, u := range limits {
		host.Resources.Ulimits = append(host.Resources.Ulimits, &container.Ulimit{Name: u.Name, Soft: int64(u.Soft), Hard: int64(u.Hard)})
	}
	for _, d := range c.Devices {
		host.Resources.Devices = append(host.Resources.Devices, container.DeviceMapping{PathOnHost: d.Host, PathInContainer: d.Container, CgroupPermissions: d.Access})
	}
	return &container.CreateRequest{Config: cfg, HostConfig: host}, nil
}

func orDefault(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

// security says what confines it. Unconfined is what --privileged gives beside
// capabilities, as far as the API has it (engine/cli has the same).
func (w *Workload) security(host *container.HostConfig, g engine.Grant) {
	c := w.Container
	if c.NoNewPrivileges {
		host.SecurityOpt = append(host.SecurityOpt, "no-new-privileges")
	}
	if c.Unmasked {
		host.MaskedPaths, host.ReadonlyPaths = []string{}, []string{}
	}
	seccomp := c.Seccomp
	if g.Unconfined {
		seccomp = "unconfined"
		host.SecurityOpt = append(host.SecurityOpt, "apparmor=unconfined", "label=disable")
		host.MaskedPaths, host.ReadonlyPaths = []string{}, []string{}
	}
	if seccomp != "" {
		host.SecurityOpt = append(host.SecurityOpt, "seccomp="+seccomp)
	}
}

func ports(c *bundle.Container, cfg *container.Config, host *container.HostConfig) error {
	for _, p := range c.Ports {
		port, ok := network.PortFrom(p.Container, network.IPProtocol(p.Protocol))
		if !ok {
			return fmt.Errorf("port %d/%s is none", p.Container, p.Protocol)
		}
		if cfg.ExposedPorts == nil {
			cfg.ExposedPorts, host.PortBindings = network.PortSet{}, network.PortMap{}
		}
		binding := network.PortBinding{}
		if p.Host != 0 {
			binding.HostPort = strconv.Itoa(int(p.Host))
		}
		if p.HostIP != "" {
			a, err := netip.ParseAddr(p.HostIP)
			if err != nil {
				return err
			}
			binding.HostIP = a
		}
		cfg.ExposedPorts[port] = struct{}{}
		host.PortBindings[port] = append(host.PortBindings[port], binding)
	}
	return nil
}

func mounts(c *bundle.Container, cfg *container.Config, host *container.HostConfig, fresh bool) {
	for _, m := range c.Mounts {
		switch {
		case m.Type == bundle.Tmpfs:
			if host.Tmpfs == nil {
				host.Tmpfs = map[string]string{}
			}
			host.Tmpfs[m.Target] = strings.Join(m.Options, ",")
		case m.Type == bundle.Volume && (m.Source == "" || fresh):
			if cfg.Volumes == nil {
				cfg.Volumes = map[string]struct{}{}
			}
			if m.ReadOnly || m.NoCopy {
				host.Mounts = append(host.Mounts, mount.Mount{Type: mount.TypeVolume, Target: m.Target, ReadOnly: m.ReadOnly, VolumeOptions: &mount.VolumeOptions{NoCopy: m.NoCopy}})
				continue
			}
			cfg.Volumes[m.Target] = struct{}{}
		case m.MustExist:
			out := mount.Mount{Type: mount.Type(m.Type), Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly}
			for _, o := range m.Options {
				out.BindOptions = &mount.BindOptions{Propagation: mount.Propagation(o)}
			}
			if m.NoCopy {
				out.VolumeOptions = &mount.VolumeOptions{NoCopy: true}
			}
			host.Mounts = append(host.Mounts, out)
		default:
			options := slices.Clone(m.Options)
			if m.ReadOnly {
				options = append(options, "ro")
			}
			if m.NoCopy {
				options = append(options, "nocopy")
			}
			bind := m.Source + ":" + m.Target
			if len(options) > 0 {
				bind += ":" + strings.Join(options, ",")
			}
			host.Binds = append(host.Binds, bind)
		}
	}
}

// Clean implements [engine.Workload].
func (w *Workload) Clean(ctx context.Context) error {
	list, err := w.engine.api.labelled(ctx, ownerLabel)
	if err != nil {
		return w.explain(err)
	}
	host, _, _ := strings.Cut(w.owner, "/")
	var errs []error
	for _, c := range list {
		owner := c.Labels[ownerLabel]
		on, process, _ := strings.Cut(owner, "/")
		if owner == w.owner || on == host && !proc.Owner(process).Alive() {
			err := w.engine.api.remove(ctx, c.ID)
			if !refusedWith(err, http.StatusNotFound) && !refusedWith(err, http.StatusConflict) { // somebody else removes it
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

func (w *Workload) explain(err error) error { return w.engine.explain(err, w.Container.Name) }

// explain gives an error of the API its next step.
func (e *Engine) explain(err error, name string) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if known := (*engine.Error)(nil); errors.As(err, &known) {
		return known
	}
	out := &engine.Error{Problem: "the engine refused", Reason: err.Error(), Hint: "change the line"}
	text := strings.ToLower(err.Error())
	out.Absent = true
	unreachable := (*connectError)(nil)
	switch {
	case errors.Is(err, os.ErrPermission), strings.Contains(text, "permission denied while trying to connect"):
		out.Problem, out.Hint = "the engine at "+e.host+" does not let this user in", "run leastcap as root: sudo leastcap …"
	case errors.As(err, &unreachable):
		out.Problem, out.Hint = "no engine answers at "+e.host, "start it (systemctl start docker, or podman system service), or point DOCKER_HOST at the engine that runs"
	default:
		out.Absent = false
	}
	switch {
	case out.Absent:
	case refusedWith(err, http.StatusNotFound):
		out.Problem, out.Hint = "the engine does not have it", "check the names in the line"
	case refusedWith(err, http.StatusConflict) && name != "":
		out.Problem, out.Hint = fmt.Sprintf("a container named %q exists already", name), fmt.Sprintf("remove it (docker rm %s), or leave --name out while learning", name)
	case strings.Contains(text, "port is already allocated"), strings.Contains(text, "address already in use"):
		out.Problem, out.Hint = "a published port is taken", "stop what uses it, or leave -p out while learning: the check can use $LEASTCAP_IP"
	}
	return out
}
