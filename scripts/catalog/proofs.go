package main

import (
	"bytes"
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/leastcap/leastcap/caps/catalog/proof"
)

// experiments is the shape of proofs.yaml.
type experiments struct {
	Kernels     []string           `yaml:"kernels"`
	Features    []proof.Feature    `yaml:"features"`
	Experiments []proof.Experiment `yaml:"experiments"`
}

func (x experiments) tables() []table {
	return []table{{"kernels", x.Kernels}, {"features", x.Features}, {"experiments", x.Experiments}}
}

// parseProofs reads the experiments, and fills in what follows from what stands there.
func parseProofs(data []byte) (experiments, error) {
	var x experiments
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	if err := decoder.Decode(&x); err != nil {
		return x, err
	}
	for i := range x.Experiments {
		e := &x.Experiments[i]
		here, anew := e.Asked.Child()
		e.Child = orFollows(e.Child, e, here)
		e.New = orFollows(e.New, e, anew)
		e.Docker.With = orFollows(e.Docker.With, e, true)
		e.Docker.Without = orFollows(e.Docker.Without, e, false)
		since := slices.Index(x.Kernels, e.Since)
		switch {
		case e.Measured == proof.Never:
		case e.Measured != "":
			e.Kernels = []string{e.Measured}
		case e.Since == "":
			e.Kernels = x.Kernels
		case since < 0:
			return x, fmt.Errorf("%s: since %q, and no such kernel was measured", e.Name, e.Since)
		default:
			e.Kernels = x.Kernels[since:]
		}
	}
	return x, nil
}

// orFollows is the outcome that stands in the file, or else that which follows from
// where the kernel asks.
func orFollows(o proof.Outcome, e *proof.Experiment, enough bool) proof.Outcome {
	switch {
	case o != "":
		return o
	case enough:
		return e.With
	}
	return e.Without
}
