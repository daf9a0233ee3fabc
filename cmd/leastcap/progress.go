package main

import (
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/term"

	"github.com/leastcap/leastcap/learn"
)

// progress shows how learning goes on. Its methods may be called from any
// goroutine.
type progress interface {
	Event(learn.Event)
	// Close leaves nothing behind but whole lines. It may be called twice.
	Close()
}

// newProgress shows progress on w, the standard error: as a live line if that
// is a terminal, else as a line for each finished run.
func newProgress(w io.Writer, enabled bool) progress {
	if !enabled {
		return silent{}
	}
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(file.Fd()) || os.Getenv("TERM") == "dumb" {
		return &plainProgress{w: w}
	}
	width := func() int {
		columns, _, err := term.GetSize(file.Fd())
		if err != nil || columns <= 0 {
			return 80
		}
		return columns
	}
	// Takes the colours out that this terminal has not, all of them for NO_COLOR.
	out := colorprofile.NewWriter(file, os.Environ())
	p := newLiveProgress(out, width, time.Now, looksFor(os.Getenv))
	p.start()
	return p
}

type silent struct{}

func (silent) Event(learn.Event) {}
func (silent) Close()            {}

// plainProgress writes a line for each finished run, without any control
// character but the newline.
type plainProgress struct {
	mu sync.Mutex
	w  io.Writer
}

func (p *plainProgress) Event(e learn.Event) {
	if e.Step != learn.Done || e.Outcome == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = io.WriteString(p.w, plainLine(e)+"\n") // progress that cannot be shown is no failure
}

func (p *plainProgress) Close() {}

// liveProgress redraws one line at the bottom, below a line for each finished
// run.
//
// It is no Bubble Tea program, on purpose. It reads nothing, so that keys and
// Ctrl-C stay what they are, and changes no state of the terminal: the cursor
// is never hidden, and so needs nobody to show it again after a panic or
// SIGKILL.
type liveProgress struct {
	w     io.Writer
	width func() int
	now   func() time.Time
	looks looks
	stop  chan struct{}
	done  chan struct{} // closed when nothing draws any more

	mu     sync.Mutex
	event  learn.Event
	began  time.Time // of the run
	frame  int
	shown  int // columns of the live line that are on the screen
	closed bool
}

// interval is how often the live line is drawn.
const interval = 100 * time.Millisecond

func newLiveProgress(w io.Writer, width func() int, now func() time.Time, l looks) *liveProgress {
	return &liveProgress{w: w, width: width, now: now, looks: l, stop: make(chan struct{}), done: make(chan struct{})}
}

func (p *liveProgress) start() {
	go func() {
		defer close(p.done)
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-p.stop:
				return
			case <-tick.C:
				p.tick()
			}
		}
	}()
}

func (p *liveProgress) tick() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frame++
	p.draw("")
}

func (p *liveProgress) Event(e learn.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.Trial != p.event.Trial || e.Step == learn.Starting {
		p.began = p.now()
	}
	p.event = e
	above := ""
	if e.Step == learn.Done && e.Outcome != nil {
		above = p.looks.finished(e) + "\n"
	}
	p.draw(above)
}

// draw replaces the live line, with a finished line above it, in one write.
func (p *liveProgress) draw(above string) {
	if p.closed || p.event.Trial == 0 {
		return
	}
	// One column stays free: a terminal whose last column is full is about to
	// wrap.
	width := p.width()
	line := p.looks.live(p.event, p.now().Sub(p.began), p.frame, width-1)
	_, _ = io.WriteString(p.w, p.erase(width)+above+line)
	p.shown = ansi.StringWidth(line)
}

// erase clears the live line and goes to where it began. It clears line by line:
// for "clear from here to the end of the screen" in the topmost line tmux moves
// what it clears to the history, at each redraw.
func (p *liveProgress) erase(width int) string {
	s := "\r" + ansi.EraseLineRight
	for ; p.shown > width; p.shown -= width { // it has become narrower, and the line was wrapped
		s += ansi.CUU1 + ansi.EraseLineRight
	}
	p.shown = 0
	return s
}

func (p *liveProgress) Close() {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	if p.event.Trial != 0 {
		_, _ = io.WriteString(p.w, p.erase(p.width()))
	}
	p.closed = true
	p.mu.Unlock()
	close(p.stop)
	<-p.done
}

// looks are the characters and colours of the live form.
type looks struct {
	spinner     []string
	passed      string
	failed      string
	full, empty string
	separator   string
	ellipsis    string
}

var (
	unicodeLooks = looks{strings.Split("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", ""), "✓", "✗", "━", "─", " · ", "…"}
	asciiLooks   = looks{strings.Split(`|/-\`, ""), "+", "x", "#", ".", ", ", "..."}
)
