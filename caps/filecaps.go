package caps

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// FileCaps is the content of a file's security.capability attribute: struct
// vfs_cap_data and vfs_ns_cap_data of include/uapi/linux/capability.h, read
// at exec by get_vfs_caps_from_disk in security/commoncap.c.
type FileCaps struct {
	// Permitted is granted at exec, within the bounding set.
	Permitted Set `json:"permitted"`
	// Inheritable is granted at exec where the process's own inheritable set
	// agrees.
	Inheritable Set `json:"inheritable"`
	// Effective makes what was granted effective at once. With it, exec fails
	// with EPERM if the bounding set withholds anything in Permitted.
	Effective bool `json:"effective"`
	// RootID is the user, in the ids of the file system's user namespace, who must
	// be root of the namespace where the file is run. Version 3 only.
	RootID uint32 `json:"root_id,omitempty"`
	// Version is the attribute's revision: 1 (32 capabilities), 2, or 3 (with
	// RootID). For [FileCaps.Marshal] 0 means the one that setcap would use.
	Version int `json:"version"`
}

// The layout of the attribute: little-endian 32-bit words, the first holding
// the revision and the flags, then permitted and inheritable for each 32
// capabilities, then (revision 3) the root id.
const (
	fileCapsRevisionShift = 24           // VFS_CAP_REVISION_SHIFT
	fileCapsEffective     = 1            // VFS_CAP_FLAGS_EFFECTIVE
	fileCapsWord          = 4            // bytes
	fileCapsSets          = fileCapsWord // where the sets begin, in bytes
)

// fileCapsSize returns the length in bytes that a revision has
// (XATTR_CAPS_SZ_1 to _3), or 0 for one that no kernel knows.
func fileCapsSize(version int) int {
	switch version {
	case 1:
		return 3 * fileCapsWord
	case 2:
		return 5 * fileCapsWord
	case 3:
		return 6 * fileCapsWord
	}
	return 0
}

// ParseFileCaps decodes the raw value of a security.capability attribute.
//
// As in the kernel, a length that does not go with the revision is an error,
// and flags other than the effective one are ignored.
func ParseFileCaps(xattr []byte) (FileCaps, error) {
	if len(xattr) < fileCapsWord {
		return FileCaps{}, fmt.Errorf("security.capability: %d bytes, too short for its revision", len(xattr))
	}
	magic := binary.LittleEndian.Uint32(xattr)
	f := FileCaps{
		Effective: magic&fileCapsEffective != 0,
		Version:   int(magic >> fileCapsRevisionShift),
	}
	size := fileCapsSize(f.Version)
	if size == 0 {
		return FileCaps{}, fmt.Errorf("security.capability: unknown revision %d, want 1, 2 or 3", f.Version)
	}
	if len(xattr) != size {
		return FileCaps{}, fmt.Errorf("security.capability: %d bytes, want %d for revision %d", len(xattr), size, f.Version)
	}
	word := func(i int) uint32 {
		return binary.LittleEndian.Uint32(xattr[fileCapsSets+i*fileCapsWord:])
	}
	f.Permitted, f.Inheritable = Set(word(0)), Set(word(1))
	if f.Version >= 2 {
		f.Permitted |= Set(word(2)) << 32
		f.Inheritable |= Set(word(3)) << 32
	}
	if f.Version >= 3 {
		f.RootID = word(4)
	}
	return f, nil
}

// Marshal encodes the attribute; [ParseFileCaps] reads it back. It is an error
// if the version is none, or cannot hold the root id or the capabilities.
func (f FileCaps) Marshal() ([]byte, error) {
	version := f.Version
	if version == 0 {
		version = 2
		if f.RootID != 0 {
			version = 3
		}
	}
	size := fileCapsSize(version)
	if size == 0 {
		return nil, fmt.Errorf("security.capability: unknown revision %d, want 1, 2 or 3", version)
	}
	if version < 3 && f.RootID != 0 {
		return nil, fmt.Errorf("security.capability: revision %d has no room for the root id %d", version, f.RootID)
	}
	if version == 1 && !f.Permitted.Union(f.Inheritable).SubsetOf(UpTo(31)) {
		return nil, errors.New("security.capability: revision 1 has no room for capabilities above 31")
	}

	magic := uint32(version) << fileCapsRevisionShift
	if f.Effective {
		magic |= fileCapsEffective
	}
	xattr := binary.LittleEndian.AppendUint32(make([]byte, 0, size), magic)
	for shift := 0; shift < 64; shift += 32 {
		xattr = binary.LittleEndian.AppendUint32(xattr, uint32(f.Permitted>>shift))
		xattr = binary.LittleEndian.AppendUint32(xattr, uint32(f.Inheritable>>shift))
	}
	// Each revision is the beginning of the next.
	return binary.LittleEndian.AppendUint32(xattr, f.RootID)[:size], nil
}

// Text returns the attribute in libcap's notation, as getcap shows it: the
// effective flag stands for everything that the file can grant.
func (f FileCaps) Text() Text {
	t := Text{Permitted: f.Permitted, Inheritable: f.Inheritable}
	if f.Effective {
		t.Effective = f.Permitted.Union(f.Inheritable)
	}
	return t
}

// String returns what getcap -n shows behind the file's name:
// "cap_net_raw=ep", "cap_net_raw=ep [rootid=1000]".
func (f FileCaps) String() string {
	s := f.Text().String()
	if f.RootID != 0 {
		s += fmt.Sprintf(" [rootid=%d]", f.RootID)
	}
	return s
}
