package audit_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/leastcap/leastcap/audit"
	"github.com/leastcap/leastcap/caps"
)

// One cause is shown once, by the finding that explains it; every id keeps its exception.
func TestFold(t *testing.T) {
	trace := func() []audit.Subject {
		return []audit.Subject{{Container: container("-ALL", "SYS_PTRACE", "pid=host")}}
	}
	except := func(rule string) *audit.Exception {
		return &audit.Exception{Rule: rule, Caps: caps.Of(caps.SysPtrace), Reason: "a test", Expires: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
	}
	for _, tt := range []struct {
		name       string
		subjects   []audit.Subject
		exceptions []*audit.Exception
		open       []string
	}{
		{"one cause", trace(), nil, []string{"critical dangerous-combination, adds-capability"}},
		{"the explaining one is excepted", trace(), []*audit.Exception{except("dangerous-combination")}, []string{"critical adds-capability"}},
		{"the explained one is excepted", trace(), []*audit.Exception{except("adds-capability")}, []string{"critical dangerous-combination"}},
		{"both are", trace(), []*audit.Exception{except("adds-capability"), except("dangerous-combination")}, nil},
		{"one that is dangerous by itself", []audit.Subject{{Container: container("-ALL", "SYS_ADMIN", "pid=host")}}, nil, []string{"critical adds-capability"}},
		{"the engine's socket", []audit.Subject{{Container: container("mount=/var/run/docker.sock")}}, nil,
			[]string{"critical engine-socket, dangerous-combination", "medium keeps-default"}},
		{"and another mount", []audit.Subject{{Container: container("mount=/var/run/docker.sock", "mount=/etc")}}, nil,
			[]string{"critical engine-socket", "high dangerous-combination", "medium keeps-default"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &audit.Report{Subjects: tt.subjects}
			r.Findings = audit.Except(audit.Audit(r.Subjects), tt.exceptions, time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC), nil)
			all := len(r.Findings)
			audit.Fold(r.Findings)
			audit.Fold(r.Findings) // again is the same
			var open []string
			for _, f := range r.Open(audit.Low) {
				open = append(open, f.Severity.String()+" "+f.Rules())
				for _, o := range f.Folds {
					if !slices.Contains(f.Related, o.At) && o.At != f.At {
						t.Errorf("%s does not name the place of %s", f.Rule.ID, o.Rule.ID)
					}
				}
			}
			if diff := cmp.Diff(tt.open, open); diff != "" {
				t.Error(diff)
			}
			if len(r.Findings) != all {
				t.Errorf("%d findings are %d", all, len(r.Findings))
			}
		})
	}
}
