package verifier

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/leastcap/leastcap/manifest/reading"
)

// process is one run of the program.
type process struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    io.Closer
	hello  reading.Hello
	stderr beginning

	writing sync.Mutex
	mu      sync.Mutex
	pending map[int]chan *reading.Answer
	why     error         // why it was given up
	done    chan struct{} // closed once nothing comes any more
}

// start starts the program in a directory, and hears its hello unless the context ends first:
// after that the process is not tied to it.
func start(ctx context.Context, path, dir string) (*process, error) {
	p := &process{cmd: exec.Command(path), pending: map[int]chan *reading.Answer{}, done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stderr = dir, &p.stderr
	p.cmd.Env = os.Environ()      // left out, PWD would be dir, and definitions say ${PWD}
	p.cmd.WaitDelay = time.Second // where a child of its has standard error, too
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p.in = in
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	p.out = out
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, maxAnswer)
	timer := time.AfterFunc(startTime, func() { p.giveUp(fmt.Errorf("it did not say hello within %v", startTime)) })
	stop := context.AfterFunc(ctx, func() { p.giveUp(ctx.Err()) })
	ok := lines.Scan()
	timer.Stop()
	stop()
	switch err := json.Unmarshal(lines.Bytes(), &p.hello); {
	case !ok:
		p.giveUp(errEnded)
	case err != nil || p.hello.Protocol == 0:
		p.giveUp(errors.New("it does not speak the protocol"))
	case p.hello.Protocol != reading.Protocol:
		p.giveUp(&SkewError{Path: path, Version: p.hello.Version, Have: p.hello.Protocol, Needs: reading.Protocol})
	}
	go p.read(lines)
	if !p.alive() {
		<-p.done
		return nil, p.reason()
	}
	return p, nil
}

var errEnded = errors.New("it ended")

// read hands out the answers until none comes any more.
func (p *process) read(lines *bufio.Scanner) {
	for p.alive() && lines.Scan() {
		a := &reading.Answer{}
		if err := json.Unmarshal(lines.Bytes(), a); err != nil {
			p.giveUp(errors.New("its answer cannot be understood"))
			break
		}
		p.mu.Lock()
		to := p.pending[a.ID]
		delete(p.pending, a.ID)
		p.mu.Unlock()
		if to == nil {
			p.giveUp(errors.New("it answers what was not asked"))
			break
		}
		to <- a
	}
	if err := lines.Err(); err != nil {
		p.giveUp(fmt.Errorf("its answer cannot be read: %w", err))
	}
	p.giveUp(errEnded)
	_ = p.cmd.Wait() // that it ended is what matters
	close(p.done)
}

// giveUp ends the process; the first reason counts.
func (p *process) giveUp(why error) {
	p.mu.Lock()
	if p.why == nil {
		p.why = why
	}
	p.mu.Unlock()
	_ = p.cmd.Process.Kill() // it may have ended
	_ = p.out.Close()        // a child of its may have it, too, and say nothing
}

func (p *process) alive() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.why == nil
}

// reason says why there will be no answer, once there is none.
func (p *process) reason() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if last := p.stderr.line(); errors.Is(p.why, errEnded) && last != "" {
		return fmt.Errorf("%w: %s", p.why, last)
	}
	return p.why
}

// end closes its input, which ends it, and waits.
func (p *process) end() {
	_ = p.in.Close()
	timer := time.AfterFunc(time.Second, func() { p.giveUp(errEnded) })
	defer timer.Stop()
	<-p.done
}

// ask waits for the answer to one question.
func (p *process) ask(ctx context.Context, req *reading.Request, within time.Duration) (*reading.Answer, error) {
	line, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	if len(line) > maxQuestion {
		return nil, fmt.Errorf("%d MiB are too much for a question", len(line)>>20)
	}
	within += time.Duration(len(line)/askFactor) * time.Second
	answer := make(chan *reading.Answer, 1)
	p.mu.Lock()
	p.pending[req.ID] = answer
	p.mu.Unlock()
	// What does not answer may not read, either: ending it ends the writing.
	timer := time.AfterFunc(within, func() { p.giveUp(fmt.Errorf("it did not answer within %v", within)) })
	defer timer.Stop()
	p.writing.Lock()
	_, err = p.in.Write(append(line, '\n'))
	p.writing.Unlock()
	if err != nil {
		p.giveUp(errEnded)
	}
	select {
	case a := <-answer:
		return a, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-p.done:
		return nil, p.reason()
	}
}

// beginning keeps the first of what is written: Go says first why it ends.
type beginning struct {
	mu   sync.Mutex
	text []byte
}

func (b *beginning) Write(data []byte) (int, error) {
	const most = 1 << 10
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text = append(b.text, data[:min(len(data), most-len(b.text))]...)
	return len(data), nil
}

// line is the first one.
func (b *beginning) line() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	first, _, _ := bytes.Cut(b.text, []byte{'\n'})
	return strings.TrimSpace(string(first))
}
