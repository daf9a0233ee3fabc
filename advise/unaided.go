package advise

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/leastcap/leastcap/caps"
)

// What is tried where nothing of the kernel's checks can be seen: capabilities
// that are likely not to be needed are taken away many at a time.

// likelihoods are how likely a capability is needed by what the files suggest, of a
// workload that starts as root: from the corpus of bench/truth and what its files
// suggest (testdata/clues.json). A test compares.
var likelihoods = sync.OnceValue(func() map[caps.Cap][clueKinds]float64 {
	return map[caps.Cap][clueKinds]float64{
		caps.AuditWrite:     {0.000, 0.040, 0.029, 0.050, 0.800},
		caps.Chown:          {0.001, 0.360, 0.514, 0.336, 0.800},
		caps.DacOverride:    {0.039, 0.215, 0.400, 0.200, 0.800},
		caps.Fowner:         {0.001, 0.016, 0.347, 0.070, 0.800},
		caps.Fsetid:         {0.001, 0.016, 0.188, 0.022, 0.800},
		caps.IpcLock:        {0.000, 0.009, 0.067, 0.280, 0.800},
		caps.Kill:           {0.001, 0.016, 0.022, 0.220, 0.800},
		caps.Mknod:          {0.000, 0.027, 0.018, 0.133, 0.800},
		caps.NetAdmin:       {0.000, 0.040, 0.440, 0.200, 0.800},
		caps.NetBindService: {0.001, 0.040, 0.020, 0.078, 0.800},
		caps.NetRaw:         {0.000, 0.040, 0.067, 0.133, 0.800},
		caps.Setfcap:        {0.000, 0.040, 0.400, 0.200, 0.800},
		caps.Setgid:         {0.135, 0.347, 0.660, 0.930, 0.800},
		caps.Setpcap:        {0.001, 0.040, 0.018, 0.127, 0.800},
		caps.Setuid:         {0.135, 0.520, 0.660, 0.856, 0.800},
		caps.SysAdmin:       {0.000, 0.008, 0.040, 0.467, 0.800},
		caps.SysBoot:        {0.000, 0.040, 0.067, 0.200, 0.800},
		caps.SysChroot:      {0.001, 0.260, 0.150, 0.340, 0.800},
		caps.SysNice:        {0.000, 0.011, 0.240, 0.200, 0.800},
		caps.SysPtrace:      {0.000, 0.040, 0.400, 0.100, 0.800},
		caps.SysResource:    {0.001, 0.016, 0.018, 0.024, 0.800},
		caps.SysTime:        {0.000, 0.027, 0.050, 0.133, 0.800},
	}
})

// prior is the same of a capability that no workload of the corpus needs or suggests.
var prior = [clueKinds]float64{NoClue: 0.01, Linked: 0.04, Helped: 0.1, Called: 0.2, Granted: 0.8}

// silent is the likelihood without any clue that counts: a workload that starts as
// another user than root has no capability, unless an executable gives it some.
const silent = 0.01

// Likelihood is how likely a workload needs a capability.
func (c *Clues) Likelihood(k caps.Cap) float64 {
	clue := c.Of[k]
	switch {
	case !c.Root && clue < Granted:
		return silent
	case c.Mute && clue == NoClue:
		if p, ok := frequency()[k]; ok {
			return p / 100
		}
		return silent
	}
	if p, ok := likelihoods()[k]; ok {
		return max(p[clue], least)
	}
	return prior[clue]
}

// least is for what no workload of the corpus needs: nothing is impossible, and of what is
// no trial could be expected to fail.
const least = 0.0005

// frequency is how many of a hundred workloads need a capability, whatever their files
// suggest: of those in bench/truth/oracle.json, which a test compares.
var frequency = sync.OnceValue(func() map[caps.Cap]float64 {
	return map[caps.Cap]float64{
		caps.Setgid: 61, caps.Setuid: 61, caps.Chown: 24, caps.DacOverride: 15, caps.NetRaw: 11, caps.Fowner: 10, caps.SysChroot: 10,
		caps.Kill: 6, caps.Fsetid: 5, caps.NetAdmin: 3, caps.SysNice: 3, caps.NetBindService: 2, caps.IpcLock: 2, caps.SysAdmin: 2,
		caps.Setfcap: 2, caps.Setpcap: 2, caps.SysPtrace: 2,
	}
})

// Suspect is a capability of which it is not known yet whether it is needed.
type Suspect struct {
	Cap        caps.Cap
	Likelihood float64
}

// Search finds by trials alone which capabilities are needed. Each trial takes a group
// away from what is left; of a group that is missed a part is tried.
type Search struct {
	// Decided is the trial that showed that a capability is needed.
	Decided map[caps.Cap]int

	rest     []Suspect // the least likely first
	positive int       // of so many of the first at least one is needed
	failed   int       // the trial that showed that
}

// NewSearch begins with all of a set.
func NewSearch(set caps.Set, c *Clues) *Search {
	s := &Search{Decided: map[caps.Cap]int{}}
	for _, k := range Order(set) { // of equals the most dangerous first
		s.rest = append(s.rest, Suspect{k, c.Likelihood(k)})
	}
	s.sort()
	return s
}

func (s *Search) sort() {
	for _, part := range [][]Suspect{s.rest[:s.positive], s.rest[s.positive:]} {
		slices.SortStableFunc(part, func(a, b Suspect) int { return cmp.Compare(a.Likelihood, b.Likelihood) })
	}
}

// Group is what the next trial takes away, nothing if all is decided.
func (s *Search) Group() caps.Set {
	if len(s.rest) == 0 {
		return 0
	}
	var group caps.Set
	for _, k := range s.rest[:Next(s.rest, s.positive)] {
		group = group.With(k.Cap)
	}
	return group
}

// Left is how many more trials are to be expected.
func (s *Search) Left() int { return int(math.Ceil(ExpectedTrials(s.rest, s.positive))) }

// Passed says that the last group is not missed.
func (s *Search) Passed() {
	n := Next(s.rest, s.positive)
	s.rest = s.rest[n:]
	s.positive = max(s.positive-n, 0)
	s.settle() // the trial that failed was without these, too
}

// Failed says that the last group is missed, as a trial showed; words are the workload's
// own.
func (s *Search) Failed(trial int, words string) {
	s.positive, s.failed = Next(s.rest, s.positive), trial
	Hear(s.rest[:s.positive], words)
	s.settle()
}

// surprise raises the likelihood of all that is left when something unlikely is needed:
// the workload is unlike others.
func (s *Search) surprise(found Suspect) {
	if found.Likelihood >= 0.5 {
		return
	}
	for i := range s.rest {
		p := s.rest[i].Likelihood
		s.rest[i].Likelihood = surprised * p / (1 - p + surprised*p)
	}
}

// surprised is by how much the odds rise then.
const surprised = 2.0

func (s *Search) settle() {
	if s.positive == 1 { // it is this one
		found := s.rest[0]
		s.Decided[found.Cap] = s.failed
		s.rest, s.positive = s.rest[1:], 0
		s.surprise(found)
	}
	s.sort()
}

// Heard says which of the capabilities a failed run's own words name, by the function
// that failed.
func Heard(words string) caps.Set {
	var set caps.Set
	lower := strings.ToLower(words)
	for _, w := range strings.FieldsFunc(lower, func(r rune) bool { return !(r >= 'a' && r <= 'z' || r == '_') }) {
		set |= FunctionNeeds(w)
	}
	for phrase, c := range phrases() {
		if strings.Contains(lower, phrase) {
			set = set.With(c)
		}
	}
	return set
}

// phrases are what programs say in place of a function's name.
var phrases = sync.OnceValue(func() map[string]caps.Cap {
	return map[string]caps.Cap{
		"changing ownership": caps.Chown, "change owner": caps.Chown, "changing group": caps.Chown,
		"set group": caps.Setgid, "set gid": caps.Setgid, "setting groups": caps.Setgid, "supplementary groups": caps.Setgid,
		"set user": caps.Setuid, "set uid": caps.Setuid, "setting uid": caps.Setuid, "identity of user": caps.Setuid,
		"changing permissions": caps.Fowner, "permission denied": caps.DacOverride,
	}
})

// heard is how likely it is that what a run complained about is what it needs.
const heard = 0.8

// Hear raises the likelihood of those that a failed run named.
func Hear(list []Suspect, words string) {
	set := Heard(words)
	for i := range list {
		if set.Has(list[i].Cap) {
			list[i].Likelihood = max(list[i].Likelihood, heard)
		}
	}
}

// Next gives how many of the first suspects to take away at once. Of the first positive
// ones it is known that at least one is needed (0: nothing is known). It is the choice
// with the fewest trials to be expected, of all that test from the front of the list:
// Sobel and Groll's nested testing (Bell System Technical Journal 38, 1959), with a
// likelihood for each.
func Next(list []Suspect, positive int) int {
	_, next := expected(list)
	return next[0][positive]
}

// ExpectedTrials is how many trials it is expected to take.
func ExpectedTrials(list []Suspect, positive int) float64 {
	cost, _ := expected(list)
	return cost[0][positive]
}

// expected fills in for the suspects from each on, of which at least one of the first m is
// needed, how many trials will be made, and how many suspects the next one takes away.
func expected(list []Suspect) (cost [][]float64, next [][]int) {
	n := len(list)
	cost, next = make([][]float64, n+1), make([][]int, n+1)
	for i := n; i >= 0; i-- {
		cost[i], next[i] = make([]float64, n-i+1), make([]int, n-i+1)
		// none[x]: none of x from here is needed.
		none := make([]float64, n-i+1)
		none[0] = 1
		for x := 1; x <= n-i; x++ {
			none[x] = none[x-1] * (1 - list[i+x-1].Likelihood)
		}
		for m := 1; m <= n-i; m++ {
			if m == 1 { // it is this one
				cost[i][m] = cost[i+1][0]
				continue
			}
			for x := 1; x < m; x++ {
				passes := (none[x] - none[m]) / (1 - none[m])
				c := 1 + passes*cost[i+x][m-x] + (1-passes)*cost[i][x]
				if next[i][m] == 0 || c < cost[i][m] {
					cost[i][m], next[i][m] = c, x
				}
			}
		}
		for x := 1; x <= n-i; x++ {
			c := 1 + none[x]*cost[i+x][0] + (1-none[x])*cost[i][x]
			if next[i][0] == 0 || c < cost[i][0] {
				cost[i][0], next[i][0] = c, x
			}
		}
	}
	return cost, next
}
