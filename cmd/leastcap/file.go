package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/leastcap/leastcap/proc"
)

// replaceFile puts data in a file's place in one step. A file that was there keeps its
// mode and owner; a new one is its owner's alone. A symbolic link stays one.
func replaceFile(name string, data []byte) (err error) {
	if target, err := filepath.EvalSymlinks(name); err == nil {
		name = target
	}
	proc.SweepTemp(filepath.Dir(name))
	tmp, err := os.CreateTemp(filepath.Dir(name), proc.TempPattern())
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	if fi, serr := os.Stat(name); serr == nil {
		err = errors.Join(err, keepOwner(tmp, fi), tmp.Chmod(fi.Mode().Perm()))
	} else if !errors.Is(serr, fs.ErrNotExist) {
		err = errors.Join(err, serr)
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), name)
}

func keepOwner(f *os.File, like os.FileInfo) error {
	own, err := f.Stat()
	if err != nil {
		return err
	}
	have, ok := own.Sys().(*syscall.Stat_t)
	want, ok2 := like.Sys().(*syscall.Stat_t)
	if !ok || !ok2 || have.Uid == want.Uid && have.Gid == want.Gid {
		return nil
	}
	return f.Chown(int(want.Uid), int(want.Gid))
}
