package caps

// Program is what execve(2) takes from the inode of an executable: the mode's
// permission and set-id bits, the owners, and the file's capabilities, nil
// without any.
type Program struct {
	Mode     uint32
	UID, GID uint32
	Caps     *FileCaps
}

// Bits of st_mode; inode(7).
const (
	modeSetUID = 0o4000
	modeSetGID = 0o2000
	modeExec   = 0o111
	modeGroupX = 0o010
)

// executable is whether anyone can execute the file: not even root without an
// x bit (generic_permission, fs/namei.c).
func (p Program) executable() bool { return p.Mode&modeExec != 0 }

// fileCaps is what counts in the initial user namespace: an attribute with a
// root id is for the namespace whose root that is (rootid_owns_currentns,
// security/commoncap.c).
func (p Program) fileCaps() *FileCaps {
	if p.Caps == nil || p.Caps.RootID != 0 {
		return nil
	}
	return p.Caps
}

// SetUID is whether exec changes the effective user id, to p.UID.
func (p Program) SetUID() bool { return p.executable() && p.Mode&modeSetUID != 0 }

// SetGID is whether exec changes the effective group id, to p.GID. Without the
// group's x bit set-gid meant mandatory locking (bprm_fill_uid, fs/exec.c).
func (p Program) SetGID() bool {
	return p.Mode&(modeSetGID|modeGroupX) == modeSetGID|modeGroupX
}

// Needs is what the bounding set must have, or else execve fails with EPERM,
// for every user and under no_new_privs: what the file grants and makes effective
// (bprm_caps_from_vfs_caps, security/commoncap.c). What the process has
// inheritable could stand in for it; that is left out.
func (p Program) Needs() Set {
	if c := p.fileCaps(); c != nil && c.Effective && p.executable() {
		return c.Permitted
	}
	return 0
}

// Gains is the permitted set that a user other than root, without capabilities,
// has after exec under a bounding set. ok is false if execve fails.
//
// With no_new_privs nothing is gained.
func (p Program) Gains(bounding Set) (gained Set, ok bool) {
	if !p.Needs().SubsetOf(bounding) || !p.executable() {
		return 0, false
	}
	// File capabilities count before set-uid root (handle_privileged_root).
	if c := p.fileCaps(); c != nil {
		return c.Permitted.Intersect(bounding), true
	}
	if p.SetUID() && p.UID == 0 {
		return bounding, true
	}
	return 0, true
}
