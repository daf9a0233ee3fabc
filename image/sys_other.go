//go:build !linux

package image

import (
	"archive/tar"
	"errors"
	"io/fs"
	"os"
)

var errLinux = errors.New("unpacking an image needs Linux")

type inode struct{}

func inodeOf(fs.FileInfo) (inode, bool)                 { return inode{}, false }
func readXattrs(string) (map[string]string, error)      { return nil, nil }
func setXattrs(*os.File, *tar.Header) error             { return errLinux }
func mknod(*os.Root, string, *tar.Header) (bool, error) { return false, errLinux }

func private(string) error             { return errLinux }
func flock(*os.File, lockKind) error   { return errLinux }
func diskUsage(string) (int64, error)  { return 0, errLinux }
func syncFS(string) error              { return errLinux }
func lockDir(string) (*os.File, error) { return nil, errLinux }
