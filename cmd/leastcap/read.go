package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/leastcap/leastcap/manifest"
)

// maxNamed is the most bytes of a profile, a report or a configuration that the user names.
const maxNamed = 256 << 20

// readWhole reads what the user named, or standard input: a file, or a pipe, whose writer may
// take its time, as long as ctx is not done. Of more than most bytes it is an error that
// says what is read.
func readWhole(ctx context.Context, name string, stdin io.Reader, most int64, what string) ([]byte, error) {
	read := func() ([]byte, error) {
		if name == stdinArg {
			return io.ReadAll(io.LimitReader(stdin, most+1))
		}
		f, err := os.Open(name) // of a pipe that nobody writes to it waits: fifo(7)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return io.ReadAll(io.LimitReader(f, most+1))
	}
	wait := name == stdinArg
	if !wait {
		info, err := os.Stat(name)
		if err == nil {
			err = readable(info)
		}
		if err != nil {
			return nil, &fs.PathError{Op: "read", Path: name, Err: bare(err)}
		}
		wait = !info.Mode().IsRegular()
	}
	var data []byte
	var err error
	if wait {
		data, err = unlessDone(ctx, read)
	} else {
		data, err = read()
	}
	if err == nil && int64(len(data)) > most {
		err = &fs.PathError{Op: "read", Path: name, Err: fmt.Errorf("it has more than the %d MiB that %s has at most", most>>20, what)}
	}
	return data, err
}

// unlessDone is what read returns, or ctx's error before that: open(2) and read(2) cannot be
// called back, and end with the process.
func unlessDone(ctx context.Context, read func() ([]byte, error)) ([]byte, error) {
	type answer struct {
		data []byte
		err  error
	}
	done := make(chan answer, 1)
	go func() {
		data, err := read()
		done <- answer{data, err}
	}()
	select {
	case a := <-done:
		return a.data, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// readable says why a kind of file is not read, though it was named: a socket has to be
// connected to, and a disk has no definitions.
func readable(info fs.FileInfo) error {
	switch mode := info.Mode(); {
	case mode&fs.ModeSocket != 0:
		return errors.New("it is a socket, which cannot be opened: - reads one that is standard input")
	case mode&fs.ModeDevice != 0 && mode&fs.ModeCharDevice == 0:
		return errors.New("it is a block device")
	}
	return nil
}

// onceOnly says that a name is of something that cannot be read a second time, nor replaced.
func onceOnly(name string) bool {
	if name == stdinArg {
		return true
	}
	info, err := os.Stat(name)
	return err == nil && !info.Mode().IsRegular() && !info.IsDir()
}

// bare is an error without the name, which is said already.
func bare(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// definitionSize says what a definition has at most.
const definitionSize = "a file of container definitions"

func tooBig(info fs.FileInfo) error {
	return fmt.Errorf("%d MiB: %s has at most %d MiB", info.Size()>>20, definitionSize, manifest.MaxSize>>20)
}
