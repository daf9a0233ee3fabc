package host

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os/user"
	"strconv"
)

// LaunchVerb is the hidden command by which leastcap, executed again, becomes
// the workload: the last steps have to happen in the new process.
const LaunchVerb = "__launch"

// launchFailed is what it exits with if it does not come to execute the
// workload; no other use of the number is known.
const launchFailed = 213

// LaunchSpec is what the launcher does.
// Words are bytes: they need not be UTF-8, which JSON's strings have to be.
type LaunchSpec struct {
	Cgroup   []byte   `json:"cgroup"`
	Path     []byte   `json:"path"`
	Argv     [][]byte `json:"argv"`
	Bounding uint64   `json:"bounding"`
	// With a user the set is also ambient, as systemd's AmbientCapabilities=
	// makes it: else a process that is not root would have nothing.
	HasUser bool  `json:"has_user"`
	UID     int   `json:"uid"`
	GID     int   `json:"gid"`
	Groups  []int `json:"groups"`
}

func (s *LaunchSpec) setUser(u *user.User) error {
	s.HasUser = true
	var err error
	if s.UID, err = strconv.Atoi(u.Uid); err != nil {
		return fmt.Errorf("user %s: %w", u.Username, err)
	}
	if s.GID, err = strconv.Atoi(u.Gid); err != nil {
		return fmt.Errorf("user %s: %w", u.Username, err)
	}
	ids, err := u.GroupIds()
	if err != nil {
		return fmt.Errorf("groups of user %s: %w", u.Username, err)
	}
	for _, id := range ids {
		n, err := strconv.Atoi(id)
		if err != nil {
			return fmt.Errorf("groups of user %s: %w", u.Username, err)
		}
		s.Groups = append(s.Groups, n)
	}
	return nil
}

func (s LaunchSpec) encode() string {
	b, _ := json.Marshal(s) // bytes and numbers only: cannot fail
	return base64.RawURLEncoding.EncodeToString(b)
}

func decodeSpec(word string) (s LaunchSpec, err error) {
	b, err := base64.RawURLEncoding.DecodeString(word)
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	return s, err
}
