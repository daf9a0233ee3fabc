package main

import (
	"context"
	"errors"
	"os/exec"
	"strings"

	"github.com/leastcap/leastcap/engine/embedded"
	"github.com/leastcap/leastcap/manifest/compose"
	"github.com/leastcap/leastcap/manifest/kube"
	"github.com/leastcap/leastcap/report"
	"github.com/leastcap/leastcap/verifier"
)

// tools says which formats' own tools fix asks before it writes a file. None of them matters
// for learning.
func (e examination) tools(ctx context.Context) {
	const section = "files"
	absent := func(name, what, hint string) {
		e.fact(section, name, report.Absent, "%s: fix writes %s without asking (%s)", what, name, hint)
	}
	v, err := openVerifier(ctx)
	if err == nil {
		for _, f := range []struct{ name, format string }{{"Compose files", compose.Format.Name}, {"Kubernetes manifests", kube.Format.Name}} {
			e.fact(section, f.name, report.Good, "%s, in %s", v.Tools[f.format], v.Path)
		}
		_ = v.Close() // it has said what it is
	} else {
		if cli, cerr := verifier.FindComposeCLI(ctx); cerr == nil {
			e.fact(section, "Compose files", report.Good, "%s, with --write; %s", cli.Title, notThere(err))
		} else {
			absent("Compose files", "no Compose", notThere(err))
		}
		absent("Kubernetes manifests", "no API types", notThere(err))
	}
	if path, err := exec.LookPath("systemd-analyze"); err == nil {
		e.fact(section, "systemd units", report.Good, "%s", path)
	} else {
		absent("systemd units", "no systemd-analyze", "it comes with systemd")
	}
	if _, err := embedded.ReadConfig(nil, nil); err == nil {
		e.fact(section, "OCI configurations", report.Good, "runc's libcontainer, built in")
	} else {
		absent("OCI configurations", "no libcontainer", strings.TrimSuffix(err.Error(), "."))
	}
}

// openVerifier starts leastcap-verifier, wherever it is.
func openVerifier(ctx context.Context) (*verifier.Verifier, error) {
	path, err := verifier.Find()
	if err != nil {
		return nil, err
	}
	return verifier.Open(ctx, path)
}

// notThere says why leastcap-verifier is not asked, and what would change that.
func notThere(err error) string {
	if errors.Is(err, verifier.ErrAbsent) {
		return err.Error() + ": make install, or go install github.com/leastcap/leastcap/cmd/" + verifier.Program + "@latest"
	}
	return verifier.Program + " cannot be used: " + err.Error()
}
