package probe

import (
	"errors"
	"os"
	"strings"

	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Survey tries every way in: the programs are loaded, attached and taken away again.
func Survey() (ways []Way, chosen string, err error) {
	for _, name := range Hooks() {
		w := Way{Name: name, NotSeen: notSeen(name)}
		p, err := Open(Options{Hook: name})
		if err == nil {
			w.Usable, w.Sees = true, p.Sees()
			p.Close()
		} else {
			w.Reason = reason(name, err)
		}
		ways = append(ways, w)
	}
	p, err := Open(Options{})
	if err != nil {
		return ways, "", err
	}
	defer p.Close()
	if p.lossy {
		for i := range ways {
			if ways[i].Name == p.Hook() {
				ways[i].NotSeen = append(ways[i].NotSeen, "what comes while another task was preempted inside the program on the same CPU: counted, and the result is incomplete then")
			}
		}
	}
	return ways, p.Hook(), nil
}

// reason is an error's own part, in words.
func reason(name string, err error) string {
	text := strings.TrimPrefix(err.Error(), ErrUnavailable.Error()+": ")
	var f *FeatureError
	if errors.As(err, &f) {
		text = f.Missing + " is missing"
		if f.Detail != "" {
			text = strings.TrimPrefix(f.Detail, name+": ")
		}
	}
	switch {
	case errors.Is(err, unix.EPERM):
		return "not permitted: by this kernel, or to this user"
	case strings.HasPrefix(name, "kprobe/") && strings.Contains(text, "tracefs event"),
		strings.HasPrefix(name, "kprobe/") && f == nil && (errors.Is(err, os.ErrNotExist) || errors.Is(err, link.ErrNotSupported)):
		return "this kernel has no kprobes"
	}
	return text
}

// notSeen is what a way in cannot show.
func notSeen(name string) []string {
	if name == "fexit/security_capable" {
		return []string{"what other security modules ask of commoncap themselves"}
	}
	return []string{"refusals by other security modules (SELinux, AppArmor) as such: they look like the program's own"}
}

// Preempts says whether this kernel preempts what runs in it.
func Preempts() bool { return preemptible() }
