// Catalog compiles the knowledge about capabilities, caps/catalog/catalog.yaml, and the
// experiments that show it, caps/catalog/proof/proofs.yaml:
//
//	catalog data YAML GO    writes the knowledge as a Go file, so that looking something
//	                        up costs a program no time at its start
//	catalog proofs YAML GO  writes the experiments as a Go file
//	catalog doc FILE        writes docs/capabilities.md, of what is compiled in
//	catalog sites DIR       looks for the places in the kernel that the catalog cites
//	                        in a kernel's source, such as that of Debian's package
//	                        linux-source; older and newer kernels lack some of them
//
// The first three are run by go generate in caps/catalog.
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
	case len(args) == 3 && (args[0] == "data" || args[0] == "proofs"):
		yaml, err := os.ReadFile(args[1])
		if err != nil {
			return err
		}
		compile := catalogSource
		if args[0] == "proofs" {
			compile = proofSource
		}
		src, err := compile(yaml)
		if err != nil {
			return fmt.Errorf("%s: %w", args[1], err)
		}
		return os.WriteFile(args[2], src, 0o644)
	case len(args) == 2 && args[0] == "doc":
		var b bytes.Buffer
		page(&b)
		return os.WriteFile(args[1], b.Bytes(), 0o644)
	case len(args) == 2 && args[0] == "sites":
		return sites(os.Stdout, os.DirFS(args[1]))
	}
	return fmt.Errorf("usage: catalog data YAML GO, catalog proofs YAML GO, catalog doc FILE, or catalog sites DIR")
}

func catalogSource(yaml []byte) ([]byte, error) {
	doc, err := parse(yaml)
	if err != nil {
		return nil, err
	}
	return source("catalog", "catalog.yaml", doc.tables())
}

func proofSource(yaml []byte) ([]byte, error) {
	doc, err := parseProofs(yaml)
	if err != nil {
		return nil, err
	}
	return source("proof", "proofs.yaml", doc.tables())
}
