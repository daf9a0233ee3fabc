package caps

// State is the five capability sets of a process, as in the Cap lines of
// /proc/PID/status; capabilities(7), "Thread capability sets".
type State struct {
	// Effective is what the kernel's checks look at.
	Effective Set `json:"effective"`
	// Permitted is what the process may make effective.
	Permitted Set `json:"permitted"`
	// Inheritable is what exec keeps if the file's inheritable set agrees.
	Inheritable Set `json:"inheritable"`
	// Bounding limits what exec can grant from a file, or to root.
	Bounding Set `json:"bounding"`
	// Ambient is what exec keeps for a file without privileges.
	Ambient Set `json:"ambient"`
}

// Text returns the three sets that libcap's notation can express.
func (s State) Text() Text {
	return Text{Effective: s.Effective, Permitted: s.Permitted, Inheritable: s.Inheritable}
}
