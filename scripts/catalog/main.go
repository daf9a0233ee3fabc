// Catalog compiles the knowledge about capabilities, caps/catalog/catalog.yaml:
//
//	catalog data YAML GO    writes it as a Go file, so that looking something up
//	                        costs a program no time at its start
//	catalog doc FILE        writes docs/capabilities.md, of what is compiled in
//
// Both are run by go generate in caps/catalog.
package main

import (
	"bytes"
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "catalog: error:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 3 && args[0] == "data":
		yaml, err := os.ReadFile(args[1])
		if err != nil {
			return err
		}
		doc, err := parse(yaml)
		if err != nil {
			return fmt.Errorf("%s: %w", args[1], err)
		}
		src, err := source(doc)
		if err != nil {
			return err
		}
		return os.WriteFile(args[2], src, 0o644)
	case len(args) == 2 && args[0] == "doc":
		var b bytes.Buffer
		page(&b)
		return os.WriteFile(args[1], b.Bytes(), 0o644)
	}
	return fmt.Errorf("usage: catalog data YAML GO, or catalog doc FILE")
}
