package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/compose"
	"github.com/leastcap/leastcap/manifest/kube"
	"github.com/leastcap/leastcap/manifest/reading"
)

// maxMemory is how much of it there may be, in bytes. Of Kubernetes' objects in a file of 4 MiB,
// as long as a document may be, there is less than half of it.
const maxMemory = 2 << 30

// maxLine is how long a question may be, in bytes: a few files, before and after.
const maxLine = 6 * manifest.MaxSize

// A reader is a format, with what reads it.
type reader struct {
	format *manifest.Format
	title  string
	module string
	read   func(*reading.Request) (*reading.Answer, error)
}

var readers = []reader{
	{&compose.Format, "compose-go", "github.com/compose-spec/compose-go/v2", readCompose},
	{&kube.Format, "Kubernetes' API", "k8s.io/api", readKube},
}

// serve answers the questions of in, until it ends: who closes it wants no answer any more,
// and one that is being looked for is not waited for.
func serve(readers []reader, in io.Reader, out io.Writer) error {
	var mu sync.Mutex
	enc := json.NewEncoder(out)
	send := func(v any) error {
		mu.Lock()
		defer mu.Unlock()
		return enc.Encode(v)
	}
	hello := reading.Hello{Protocol: reading.Protocol, Version: version, Tools: map[string]string{}}
	for _, r := range readers {
		hello.Tools[r.format.Name] = r.title + " " + moduleVersion(r.module)
	}
	if err := send(hello); err != nil {
		return err
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for lines.Scan() {
		req := &reading.Request{}
		if err := json.Unmarshal(lines.Bytes(), req); err != nil {
			return fmt.Errorf("a question cannot be understood: %w", err)
		}
		go func() {
			slots <- struct{}{} // here, so that the end of in is seen whatever the answers take
			defer func() { <-slots }()
			// Whoever does not listen any more has closed the input, too.
			_ = send(answer(readers, req))
		}()
	}
	return lines.Err()
}

// answer asks the reader of the request's format.
func answer(readers []reader, req *reading.Request) (a *reading.Answer) {
	defer func() {
		if p := recover(); p != nil { // a package's own mistake
			a = &reading.Answer{Err: fmt.Sprintf("it panicked: %v", p)}
		}
		a.ID = req.ID
	}()
	for _, r := range readers {
		if r.format.Name != req.Format {
			continue
		}
		a, err := r.read(req)
		if err != nil {
			return &reading.Answer{Err: err.Error()}
		}
		return a
	}
	return &reading.Answer{Err: fmt.Sprintf("it does not know the format %q", req.Format)}
}

// moduleVersion is that of a module that is linked, "" if that is not known (in tests).
func moduleVersion(path string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, m := range info.Deps {
		if m.Path == path {
			return m.Version
		}
	}
	return ""
}

// short cuts what a package says to what fits into a line.
func short(err error) string {
	const most = 300
	text := strings.Join(strings.Fields(err.Error()), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + " …"
	}
	return text
}
