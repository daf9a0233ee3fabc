package audit

// A Rule is one thing that is looked for.
type Rule struct {
	// ID is its name in reports, exceptions and comments.
	ID string
	// Title is a few words, without a verb that judges.
	Title string
	// What says in a sentence or two what it finds, and when it does not.
	What string
	// Gain says what an attacker gains, where that is the same for every finding.
	Gain string
	// Mend says how to mend it, where that is the same for every finding.
	Mend string
	// Severity says how its findings are graded.
	Severity string
	// Sources are where the facts behind it stand.
	Sources []string

	check func(*subject)
}

// Page is the rule's place in the documentation, relative to the project's root.
func (r *Rule) Page() string { return "docs/rules.md#" + r.ID }

// Rules returns all of them in the order in which they are documented.
func Rules() []*Rule {
	list := make([]*Rule, len(ruleTable))
	for i := range ruleTable {
		list[i] = &ruleTable[i]
	}
	return list
}

// FindRule returns the rule of an id, nil if there is none.
func FindRule(id string) *Rule {
	for i := range ruleTable {
		if ruleTable[i].ID == id {
			return &ruleTable[i]
		}
	}
	return nil
}

const (
	sourceDocker  = "moby/moby daemon/pkg/oci/caps/utils.go TweakCapabilities"
	sourceCRI     = "containerd/containerd internal/cri/opts/spec_opts.go WithCapabilities; cri-o/cri-o internal/factory/container"
	sourcePodman  = "containers/container-libs common/pkg/capabilities MergeCapabilities"
	sourcePSS     = "https://kubernetes.io/docs/concepts/security/pod-security-standards/"
	sourceCatalog = "docs/capabilities.md"
)

var ruleTable = []Rule{
	{
		ID: "privileged", Title: "Privileged container",
		What:     "The container is privileged: it has every capability, no seccomp or LSM confinement, all devices and writable kernel settings. Lists of capabilities beside it mean nothing. If a profile says which capabilities the workload needs, they are named.",
		Gain:     "Root in the container is root on the host.",
		Mend:     "Take privileged away and give the capabilities, devices and mounts that are needed by name; leastcap learn finds which.",
		Severity: "critical", Sources: []string{sourceDocker, "containerd/containerd pkg/oci/spec_opts.go WithPrivileged"},
		check: checkPrivileged,
	},
	{
		ID: "adds-all", Title: "All capabilities added",
		What:     "ALL is added. Under Docker that holds even if ALL is dropped beside it.",
		Mend:     "Add the capabilities that are needed by name; leastcap learn finds which.",
		Severity: "critical", Sources: []string{sourceDocker, sourceCRI},
		check: checkAddsAll,
	},
	{
		ID: "adds-capability", Title: "Dangerous capability added",
		What:     "A capability is added that reaches beyond the container, by itself or through what the container shares with the host. What a proven profile says that the workload needs is a note.",
		Mend:     "See leastcap explain for ways to do without it; leastcap learn tells whether it is needed at all.",
		Severity: "critical if it takes over the host in this container, medium if it disturbs or discloses what is outside", Sources: []string{sourceCatalog},
		check: checkAdds,
	},
	{
		ID: "dangerous-combination", Title: "Capabilities and what the container shares",
		What:     "What the container shares with the host (a namespace, a sensitive directory, a device) turns capabilities that it holds, engines' defaults included, into ways out. For people it stands for what adds-capability says of the same capability; an exception for one leaves the other.",
		Mend:     "Do not share it, or drop these capabilities.",
		Severity: "high if they are the engine's default, critical if one was added", Sources: []string{sourceCatalog},
		check: checkCombination,
	},
	{
		ID: "engine-socket", Title: "The engine's socket mounted",
		What:     "The control socket of a container engine is mounted, or a directory that holds it: whoever can write to it starts privileged containers, so that no capability of this container matters.",
		Gain:     "Whoever controls the container starts another one that is root on the host.",
		Mend:     "Do not mount it; where a program has to see containers, put a proxy between that allows reading only.",
		Severity: "critical", Sources: []string{"https://docs.docker.com/engine/security/#docker-daemon-attack-surface"},
		check: checkSocket,
	},
	{
		ID: "keeps-default", Title: "The engine's default capabilities kept",
		What:     "The container does not drop ALL, so that it keeps what its engine gives every container, whether needed or not.",
		Mend:     "Drop ALL and add what is needed; leastcap learn finds which.",
		Severity: "medium if what is kept reaches beyond the container, else low", Sources: []string{sourceCatalog, sourceDocker},
		check: checkDefault,
	},
	{
		ID: "unneeded-capability", Title: "Capability that the workload does not need",
		What:     "A learned profile says that the workload works without a capability that the container has.",
		Mend:     "leastcap fix writes exactly what is needed.",
		Severity: "as dangerous as the worst of them is in this container", Sources: []string{sourceCatalog},
		check: checkUnneeded,
	},
	{
		ID: "missing-capability", Title: "Capability that the workload needs",
		What:     "A learned profile says that the workload fails without a capability that the container does not get. What was inferred for another engine and not proven there is a note.",
		Mend:     "Add it, if this definition is for the same use as was learned; leastcap fix --grant does.",
		Severity: "high", check: checkMissing,
	},
	{
		ID: "needless-root", Title: "Root without need",
		What:     "The container runs as root, and a learned profile says that it needs no capability: any user would do who may read and write its files.",
		Gain:     "A process of user 0 owns whatever root owns in volumes and mounts, and files of the host if it ever gets out.",
		Mend:     "Set a user, and give it the files that it writes.",
		Severity: "low", check: checkNeedlessRoot,
	},
	{
		ID: "void-entry", Title: "Entry that has no effect",
		What:     "A capability is dropped and the engine gives it all the same, or it is added and the engine does not give it: privileged makes both void, and where a name stands in both lists (or ALL does) engines differ in which one wins.",
		Mend:     "Keep the entry that is in force, and remove the other.",
		Severity: "high if a drop has no effect, else low", Sources: []string{sourceDocker, sourceCRI, sourcePodman},
		check: checkVoid,
	},
	{
		ID: "engines-disagree", Title: "Engines that read it differently",
		What:     "The engines that may run this give the container different capabilities for the same lists (their defaults aside), or one refuses what another takes. Nomad does not start a task of its docker driver that adds more than the client's allow_caps has: that is a note.",
		Mend:     "Drop ALL and add names, each in one list only: all engines agree on that.",
		Severity: "medium", Sources: []string{sourceDocker, sourceCRI, sourcePodman, "hashicorp/nomad drivers/shared/capabilities"},
		check: checkEngines,
	},
	{
		ID: "unknown-capability", Title: "Unknown capability",
		What:     "A name is no capability. Docker, Podman and CRI-O refuse to start the container; containerd ignores the entry with a warning, so that what should be dropped is kept.",
		Mend:     "Correct the name; leastcap explain lists all.",
		Severity: "high for a drop, else medium", Sources: []string{sourceDocker, sourceCRI, "opencontainers/runc 5fb831a0f"},
		check: checkUnknown,
	},
	{
		ID: "name-spelling", Title: "Spelling that not every engine takes",
		What:     "In a Kubernetes manifest a name has CAP_ before it, which containerd takes for CAP_CAP_…, and ignores; or it is not in upper case, which Pod Security does not take for the same name.",
		Mend:     "Write names in upper case and without CAP_.",
		Severity: "high where the entry is ignored, else low", Sources: []string{sourceCRI, sourcePSS},
		check: checkSpelling,
	},
	{
		ID: "duplicate-entry", Title: "Entry that is there twice",
		What:     "A name is in a list twice, or is dropped by name beside ALL.",
		Mend:     "Remove it.",
		Severity: "note", check: checkDuplicate,
	},
	{
		ID: "inert-add", Title: "Added capability that cannot be used",
		What:     "A capability is added and no process can use it: the user is not root, and neither ambient sets nor set-uid programs or file capabilities give it one; or it counts in the initial user namespace only and the container has one of its own; or it is net_bind_service, and the engine lets everybody bind every port.",
		Mend:     "Remove it. A user other than root gets a capability by a file capability of the program, or with Podman.",
		Severity: "low", Sources: []string{"capabilities(7)", "https://github.com/kubernetes/kubernetes/issues/56374", "moby/moby daemon/oci_linux.go (sysctls)"},
		check: checkInert,
	},
	{
		ID: "set-id-programs", Title: "Programs that give privilege",
		What:     "The image has set-uid or set-gid programs or file capabilities, and no_new_privs is not set: a process that lost its capabilities gets them back by executing one.",
		Gain:     "A process that is not root executes one of them and has the container's capabilities again.",
		Mend:     "Set no-new-privileges, if the workload does not rely on these programs, or remove the bits in the image.",
		Severity: "medium if the container runs as another user than root and holds capabilities, else low", Sources: []string{"prctl(2), PR_SET_NO_NEW_PRIVS", "capabilities(7)"},
		check: checkSetID,
	},
	{
		ID: "no-new-privileges", Title: "no_new_privs could be set",
		What:     "The image has no set-uid or set-gid program and no file capabilities, so that nothing in it relies on gaining privilege by executing a file, and no_new_privs is not set.",
		Gain:     "A file that an attacker brings, on a volume say, could give privilege.",
		Mend:     "Set no-new-privileges (in Kubernetes allowPrivilegeEscalation: false).",
		Severity: "note", Sources: []string{"prctl(2), PR_SET_NO_NEW_PRIVS"},
		check: checkNoNewPrivs,
	},
	{
		ID: "gives-privilege", Title: "File that gives privilege",
		What:     "A RUN of a Dockerfile gives a file capabilities (setcap) or makes it set-uid or set-gid. Without no_new_privs whoever executes it gains what it gives; file capabilities that the engine does not give make execve(2) fail with EPERM.",
		Mend:     "Leave it away, or set no-new-privileges where the image is run.",
		Severity: "medium if a capability reaches beyond the container, else low", Sources: []string{"capabilities(7), File capabilities", "execve(2)"},
		check: checkPrograms,
	},
	{
		ID: "insecure-build", Title: "Privileged build step",
		What:     "A RUN with --security=insecure is executed with all capabilities and without confinement; a Compose file allows it, or more, with build: privileged or the entitlement security.insecure.",
		Gain:     "What the step downloads and executes is root on the machine that builds.",
		Mend:     "Do what needs privilege outside of the build, or run the builder in a machine of its own.",
		Severity: "high", Sources: []string{"https://docs.docker.com/reference/dockerfile/#run---security"},
		check: checkBuild,
	},
	{
		ID: "label-asks", Title: "Label that asks for privilege",
		What:     "A label RUN, INSTALL, UNINSTALL, UPDATE or STOP is a command for a container engine that asks for more than a container has by default. Whoever runs what an image's label says trusts the image with it.",
		Mend:     "Ask for the capabilities that are needed by name: leastcap image label writes them.",
		Severity: "as what it asks for", Sources: []string{"projectatomic/atomic docs/atomic-run.1.md"},
		check: checkLabel,
	},
	{
		ID: "pod-security-baseline", Title: "Pod Security: baseline not met",
		What:     "The pod asks for something that the Pod Security Standard baseline forbids: capabilities beyond its thirteen, privileged, the host's namespaces.",
		Mend:     "Take it away, or exempt the namespace knowingly.",
		Severity: "medium", Sources: []string{sourcePSS, "k8s.io/pod-security-admission/policy"},
		check: checkBaseline,
	},
	{
		ID: "pod-security-restricted", Title: "Pod Security: restricted not met",
		What:     "The container does not drop ALL by that very name, adds another capability than NET_BIND_SERVICE, or allows privilege escalation: the Pod Security Standard restricted forbids it.",
		Mend:     "Drop ALL, add NET_BIND_SERVICE at most, and set allowPrivilegeEscalation to false.",
		Severity: "note", Sources: []string{sourcePSS, "k8s.io/pod-security-admission/policy"},
		check: checkRestricted,
	},
	{
		ID: "not-known", Title: "What cannot be known from the file",
		What:     "Something that decides over the container's capabilities is a variable, a template or comes from elsewhere: nothing is said about them.",
		Mend:     "If it is a variable, give it a value (an .env file, the environment) or audit the rendered file; else correct what is written there.",
		Severity: "note", check: checkKnown,
	},
	{
		ID: "exception-expired", Title: "Exception past its date",
		What:     "An exception has expired; what it covered is reported again.",
		Mend:     "Mend what it was for, or decide anew and give it another date.",
		Severity: "low",
	},
	{
		ID: "exception-unused", Title: "Exception that covers nothing",
		What:     "An exception covers no finding of what was audited.",
		Mend:     "Remove it.",
		Severity: "low",
	},
}
