package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/leastcap/leastcap/proc"
)

// replaceFile puts data in a file's place in one step: whoever looks sees the old file or
// the new one, whatever happens. A file that was there keeps its mode, owner and extended
// attributes; a new one is its owner's alone. A symbolic link stays one. A file with
// other hard links is refused: they would keep the old content.
func replaceFile(name string, data []byte) (err error) {
	if target, err := filepath.EvalSymlinks(name); err == nil {
		name = target
	}
	proc.SweepTemp(filepath.Dir(name))
	tmp, err := os.CreateTemp(filepath.Dir(name), proc.TempPattern())
	if err != nil {
		return meant(err, name)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	err = meant(err, name)
	if fi, serr := os.Stat(name); serr == nil {
		err = errors.Join(err, likeFile(tmp, name, fi))
	} else if !errors.Is(serr, fs.ErrNotExist) {
		err = errors.Join(err, serr)
	}
	// On the disk before it takes the other's place: after a power cut there is one of them.
	err = errors.Join(err, meant(tmp.Sync(), name))
	if err = errors.Join(err, meant(tmp.Close(), name)); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), name)
}

// meant makes an error one of the file that was to be written: its temporary one is nobody's
// concern, and gone.
func meant(err error, name string) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return &fs.PathError{Op: p.Op, Path: name, Err: p.Err}
	}
	return err
}

// likeFile gives a file what another has beside its content.
func likeFile(f *os.File, name string, like os.FileInfo) error {
	if st, ok := like.Sys().(*syscall.Stat_t); ok {
		if st.Nlink > 1 {
			return fmt.Errorf("%s has %d hard links, of which the others would keep what it was", name, st.Nlink)
		}
		own, err := f.Stat()
		if err != nil {
			return err
		}
		if have, ok := own.Sys().(*syscall.Stat_t); ok && (have.Uid != st.Uid || have.Gid != st.Gid) {
			if err := f.Chown(int(st.Uid), int(st.Gid)); err != nil {
				return err
			}
		}
	}
	// After the owner: chown(2) clears set-id bits.
	return errors.Join(f.Chmod(like.Mode()&(fs.ModePerm|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky)), copyXattrs(f, name))
}
