//go:build !linux

package main

import "os"

func copyXattrs(*os.File, string) error { return nil }
