package learn_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/engine/cli"
	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/learn"
	"github.com/leastcap/leastcap/probe"
	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/usage"
)

const servicesImage = "leastcap-test/services"

const http = `curl -fsS http://$LEASTCAP_IP/ >/dev/null`

var workloads = []workload{
	{
		name: "nginx", command: []string{"nginx", "-g", "daemon off;"}, check: http,
		want: caps.Of(caps.Chown, caps.DacOverride, caps.Setgid, caps.Setuid),
	},
	{
		name: "apache2", check: http,
		command: []string{"sh", "-c", ". /etc/apache2/envvars; mkdir -p $APACHE_RUN_DIR; exec apache2 -D FOREGROUND"},
		want:    caps.Of(caps.Setgid, caps.Setuid),
	},
	{name: "redis", command: []string{"redis-server"}, check: `docker exec $LEASTCAP_CONTAINER redis-cli ping`},
	{name: "ping", command: []string{"ping", "-c1", "127.0.0.1"}, want: caps.Of(caps.NetRaw)},
	{
		name: "chrony", check: `docker exec $LEASTCAP_CONTAINER chronyc -h 127.0.0.1 -n tracking`,
		// Its directories would need chown and dac_override; what is of interest is
		// that it keeps net_bind_service with capset(2).
		command: []string{"chronyd", "-d", "-x", "-u", "_chrony", "pidfile /run/chronyd.pid", "bindcmdaddress /", "server 127.0.0.1"},
		want:    caps.Of(caps.Setgid, caps.Setuid, caps.NetBindService),
	},
	{name: "sudo", command: []string{"sudo", "-u", "www-data", "id"}, want: caps.Of(caps.Setgid, caps.Setuid)},
}

func checks(texts ...string) []learn.Command {
	var cs []learn.Command
	for _, text := range texts {
		cs = append(cs, learn.ParseCommand(text))
	}
	return cs
}

type observer struct{ *probe.Probe }

func (o observer) Watch(ref proc.ScopeRef) (learn.Watch, error) { return o.Probe.Watch(ref) }

func openProbe(t testing.TB) *probe.Probe {
	t.Helper()
	p, err := probe.Open(probe.Options{Hook: os.Getenv(testenv.HookVar)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func learnLine(t testing.TB, p *probe.Probe, opts learn.Options, line ...string) (*usage.Profile, error) {
	t.Helper()
	w, err := cli.New(t.Context(), line)
	if err != nil {
		t.Fatal(err)
	}
	return learn.Run(t.Context(), w, observer{p}, opts, nil)
}

// The learned set is exactly the one that exhaustive removal gives.
func TestTruth(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.BPF, testenv.Docker, testenv.Image(servicesImage))
	// The oracle's runs mostly wait, and are two at a time. leastcap's are one after the
	// other: each begins with no container of this process.
	truths := make([]caps.Set, len(workloads))
	turns := make(chan struct{}, 2)
	t.Run("oracle", func(t *testing.T) {
		for i, w := range workloads {
			t.Run(w.name, func(t *testing.T) {
				t.Parallel()
				turns <- struct{}{}
				defer func() { <-turns }()
				truths[i] = w.oracle(t)
			})
		}
	})
	p := openProbe(t)
	for i, w := range workloads {
		t.Run(w.name, func(t *testing.T) {
			truth := truths[i]
			if truth != w.want {
				t.Errorf("exhaustive removal gives %v, expected %v", truth, w.want)
			}
			opts := learn.Options{}
			if w.check != "" {
				opts.Checks = checks(w.check)
			}
			got, err := learnLine(t, p, opts, w.line()...)
			if err != nil {
				t.Fatal(err)
			}
			if got.Required != truth || !got.Proven || !got.Complete {
				t.Errorf("learned %v, truth %v; proven %v complete %v lost %v notes %q", got.Required, truth, got.Proven, got.Complete, got.Lost, got.Notes)
				for _, tr := range got.Trials {
					t.Logf("%+v", tr)
				}
			}
			if got.Baseline != docker14 {
				t.Errorf("baseline %v", got.Baseline)
			}
			for _, f := range got.Capabilities {
				if f.Status == usage.Required && (len(f.Reasons) == 0 || f.Without == nil || f.Without.Reason == "") {
					t.Errorf("%v has no reason or no proof: %+v", f.Cap, f)
				}
			}
			t.Logf("%v in %d runs, %.1f s", got.Required, len(got.Trials), got.Seconds)
		})
	}
}

// nginx's evidence is what its source says: who, which call, which path.
func TestEvidence(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.BPF, testenv.Docker, testenv.Image(servicesImage))
	got, err := learnLine(t, openProbe(t), learn.Options{Checks: checks(http)}, workloads[0].line()...)
	if err != nil {
		t.Fatal(err)
	}
	want := map[caps.Cap]struct{ call, path, log string }{
		caps.Chown:       {"chown", "/var/lib/nginx/body", "chown(\"/var/lib/nginx/body\", 33) failed (1: Operation not permitted)"},
		caps.DacOverride: {"openat", "/var/log/nginx/error.log", "open() \"/var/log/nginx/error.log\" failed (13: Permission denied)"},
		caps.Setgid:      {"setgid(33)", "", ""},
		caps.Setuid:      {"setuid(33)", "", ""},
	}
	for _, f := range got.Capabilities {
		w, ok := want[f.Cap]
		if !ok {
			continue
		}
		found := false
		for _, c := range f.Checks {
			if strings.HasPrefix(c.Call, w.call) && c.Path == w.path {
				found = c.Process.Comm == "nginx" && c.Process.Exe == "/usr/sbin/nginx" && c.Phase == usage.Start && c.Function != ""
			}
		}
		if !found {
			t.Errorf("%v: no evidence of %s %s by nginx at the start: %+v", f.Cap, w.call, w.path, f.Checks)
		}
		if f.Without == nil || !strings.Contains(f.Without.Log, w.log) {
			t.Errorf("%v: the run without it: %+v", f.Cap, f.Without)
		}
	}
	if !strings.HasPrefix(got.Subject.ImageID, "sha256:") {
		t.Errorf("image id %q", got.Subject.ImageID)
	}
	line := cli.Quote(got.Use.Command)
	const use = `docker run --cap-drop=ALL --cap-add=CHOWN --cap-add=DAC_OVERRIDE --cap-add=SETGID --cap-add=SETUID leastcap-test/services nginx -g 'daemon off;'`
	if line != use {
		t.Errorf("line to use:\n%s\nwant\n%s", line, use)
	}
	if !got.Portability.Inferred.Has(caps.NetBindService) {
		t.Errorf("port 80 under Docker's sysctl: %+v", got.Portability)
	}
	// The profile survives its file.
	data, err := got.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	back, err := usage.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := back.Marshal(); err != nil || string(again) != string(data) {
		t.Errorf("a profile that was read and written again differs (%v)", err)
	}
}

// The user's own flags are the baseline.
func TestBaselineIsTheUsersLine(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.BPF, testenv.Docker, testenv.Image(servicesImage))
	p := openProbe(t)
	for _, c := range []struct {
		name     string
		flags    []string
		command  []string
		baseline caps.Set
		required caps.Set
	}{
		{"cap-add", []string{"--cap-add", "sys_nice"}, []string{"nice", "-n", "-5", "true"}, docker14.With(caps.SysNice), 0},
		{"cap-drop", []string{"--cap-drop=ALL", "--cap-add=CAP_NET_RAW"}, []string{"ping", "-c1", "127.0.0.1"}, caps.Of(caps.NetRaw), caps.Of(caps.NetRaw)},
		{"user", []string{"--user", "www-data"}, []string{"ping", "-c1", "127.0.0.1"}, docker14, caps.Of(caps.NetRaw)},
		{"mount", []string{"--cap-add", "SYS_ADMIN"}, []string{"mount", "-t", "tmpfs", "none", "/mnt"}, docker14.With(caps.SysAdmin), caps.Of(caps.SysAdmin)},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := workload{flags: c.flags, command: c.command}
			got, err := learnLine(t, p, learn.Options{}, w.line()...)
			if err != nil {
				t.Fatal(err)
			}
			if got.Baseline != c.baseline || got.Required != c.required || !got.Proven {
				t.Errorf("baseline %v required %v (want %v) proven %v notes %q", got.Baseline, got.Required, c.required, got.Proven, got.Notes)
				for _, tr := range got.Trials {
					t.Logf("%+v", tr)
				}
			}
		})
	}
}

func TestProblemsOfTheEngine(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.BPF, testenv.Docker, testenv.Image(servicesImage))
	p := openProbe(t)
	const taken = "leastcap-test-taken"
	if out, err := exec.Command("docker", "create", "--name", taken, servicesImage, "true").CombinedOutput(); err != nil {
		t.Fatalf("%s", out)
	}
	t.Cleanup(func() { _ = exec.Command("docker", "rm", "-f", taken).Run() })
	for _, c := range []struct {
		name, problem, hint string
		line                []string
	}{
		{"no image", "was not found", "pull", []string{"docker", "run", "localhost:1/leastcap-test/absent", "true"}},
		{"name clash", "exists already", "docker rm " + taken, []string{"docker", "run", "--name", taken, servicesImage, "true"}},
		{"no engine", "docker is not running", "DOCKER_HOST", []string{"docker", "-H", "unix:///nonexistent.sock", "run", servicesImage, "true"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := learnLine(t, p, learn.Options{}, c.line...)
			var e *engine.Error
			if !asEngineError(err, &e) || !strings.Contains(e.Problem, c.problem) || !strings.Contains(e.Hint, c.hint) {
				t.Errorf("got %T %v, want %q with a hint of %q", err, err, c.problem, c.hint)
			}
		})
	}
	noneLeft(t)
}

func TestWorkloadThatDies(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.BPF, testenv.Docker, testenv.Image(servicesImage))
	_, err := learnLine(t, openProbe(t), learn.Options{Checks: checks("false"), CheckTimeout: 10 * time.Second},
		"docker", "run", servicesImage, "sh", "-c", "echo last words; exit 7")
	b, ok := err.(*learn.BaselineError)
	if !ok || !strings.Contains(b.Reason, "exited 7") || !strings.Contains(b.Logs, "last words") {
		t.Errorf("got %v", err)
	}
	noneLeft(t)
}

func noneLeft(t *testing.T) {
	t.Helper()
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	own := fmt.Sprintf("label=io.leastcap.owner=%s/%s", name, proc.Self())
	out, err := exec.Command("docker", "ps", "-aq", "--filter", own).Output()
	if err != nil || len(out) > 0 {
		t.Errorf("containers left behind: %s %v", out, err)
	}
}

// BenchmarkLearnNginx prints how long it takes to learn and prove nginx.
func BenchmarkLearnNginx(b *testing.B) {
	testenv.Need(b, testenv.Root, testenv.BPF, testenv.Docker, testenv.Image(servicesImage))
	p := openProbe(b)
	runs := 0
	for b.Loop() {
		got, err := learnLine(b, p, learn.Options{Checks: checks(http)}, workloads[0].line()...)
		if err != nil || !got.Proven || got.Required != workloads[0].want {
			b.Fatalf("%v %+v", err, got)
		}
		runs += len(got.Trials)
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/learn")
	b.ReportMetric(float64(runs)/float64(b.N), "runs/learn")
}

func asEngineError(err error, target **engine.Error) bool {
	e, ok := err.(*engine.Error)
	*target = e
	return ok
}
