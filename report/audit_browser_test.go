package report_test

import (
	"bytes"
	"context"
	"flag"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/leastcap/leastcap/audit"
	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/report"
	"github.com/leastcap/leastcap/usage"
)

var screenshot = flag.String("screenshot", "", "write the picture of the HTML report to this file: docs/audit.png")

// shown is a report with one of everything, and a name that tries to be markup.
func shown() *audit.Report {
	at := func(line int) manifest.Pos {
		return manifest.Pos{File: "compose.yaml", Line: line, Column: 3, Start: line * 20, End: line*20 + 5}
	}
	text := func(s string, line int) manifest.Text { return manifest.Of(s, s, at(line)) }
	container := func(name, image string, line int) *manifest.Container {
		return &manifest.Container{Format: "compose", Path: "services." + name, Name: name, Kind: "service", At: at(line),
			Image: text(image, line+1), Target: manifest.Target{Engines: []string{"docker"}, Chosen: true}}
	}
	request := func(a manifest.Action, word string, line int) manifest.Request {
		return manifest.Request{Action: a, Word: text(word, line)}
	}
	web := container("web", "nginx:1.27", 2)
	db := container("db", "postgres:17", 6)
	db.Caps = []manifest.Request{request(manifest.Drop, "ALL", 8), request(manifest.Add, "CHOWN", 9)}
	vpn := container("vpn", "wireguard", 12)
	vpn.Caps = []manifest.Request{request(manifest.Drop, "ALL", 14), request(manifest.Add, "NET_ADMIN", 15), request(manifest.Add, "SYS_MODULE", 15)}
	vpn.Namespaces = []manifest.Namespace{{Kind: "net", With: text("host", 16)}}
	agent := container("agent", "agent", 18)
	agent.Privileged = manifest.Of(true, "true", at(20))
	agent.Mounts = []manifest.Mount{{Type: "bind", Source: text("/var/run/docker.sock", 22), At: at(22)}}
	cache := container("cache", "redis:8", 24)
	cache.Caps = []manifest.Request{request(manifest.Drop, "ALL", 26)}
	odd := container("<img src=x onerror=alert(1)>", "x", 30)
	odd.Caps = []manifest.Request{request(manifest.Add, "${CAP}", 31)}
	odd.Caps[0].Word = manifest.NotKnown[string]("${CAP}", "the variable CAP has no value", at(31))
	profile := func(set caps.Set) *usage.Profile {
		return &usage.Profile{Complete: true, Proven: true, Required: set, Recommended: set, Baseline: caps.UpTo(caps.Setfcap)}
	}
	r := &audit.Report{
		Files: []audit.File{{Name: "compose.yaml", Format: "compose", Containers: 6}},
		Subjects: []audit.Subject{
			{Container: web, Profile: profile(caps.Of(caps.Chown, caps.DacOverride, caps.Setgid, caps.Setuid)), ProfileName: "nginx.json"},
			{Container: db, Profile: profile(caps.Of(caps.Chown, caps.DacOverride, caps.Setgid, caps.Setuid)), ProfileName: "postgres.json"},
			{Container: vpn}, {Container: agent}, {Container: cache}, {Container: odd},
		},
	}
	r.Findings = audit.Audit(r.Subjects)
	return r
}

// TestHTMLInBrowser opens the page from a file, in Chromium, and uses it.
func TestHTMLInBrowser(t *testing.T) {
	testenv.Need(t, testenv.Command("chromium"))
	var page bytes.Buffer
	if err := report.AuditHTML(&page, shown()); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "audit.html")
	if err := os.WriteFile(file, page.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	profile, err := os.MkdirTemp("", "audit-browser-")
	if err != nil {
		t.Fatal(err)
	}
	// Its processes may still write for a moment after it was closed.
	t.Cleanup(func() {
		for end := time.Now().Add(10 * time.Second); os.RemoveAll(profile) != nil && time.Now().Before(end); {
			time.Sleep(50 * time.Millisecond)
		}
	})
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath("chromium"), chromedp.WSURLReadTimeout(2*time.Minute), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(profile),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.WindowSize(1180, 1000))...)
	defer cancel()
	ctx, cancel = chromedp.NewContext(ctx)
	defer cancel()
	ctx, cancel = context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var wrong []string
	chromedp.ListenTarget(ctx, func(ev any) {
		switch ev := ev.(type) {
		case *runtime.EventExceptionThrown:
			wrong = append(wrong, ev.ExceptionDetails.Error())
		case *log.EventEntryAdded:
			wrong = append(wrong, ev.Entry.Text)
		case *network.EventRequestWillBeSent:
			if !strings.HasPrefix(ev.Request.URL, "file:") {
				wrong = append(wrong, "a request to "+ev.Request.URL)
			}
		}
	})
	// Rows of the picture that are seen, and cards.
	const visible = `Array.from(document.querySelectorAll("tbody tr, details.card")).filter(e => !e.hidden).length`
	var all, filtered, severe, open, dots int
	var title string
	var shot []byte
	err = chromedp.Run(ctx,
		network.Enable(), log.Enable(), runtime.Enable(),
		chromedp.Navigate((&url.URL{Scheme: "file", Path: file}).String()),
		chromedp.Title(&title),
		chromedp.Evaluate(visible, &all),
		chromedp.Evaluate(`document.querySelectorAll("tbody td .dot").length`, &dots),
		chromedp.FullScreenshot(&shot, 100),
		chromedp.SendKeys("#filter", "sys_module"),
		chromedp.Evaluate(visible, &filtered),
		chromedp.Evaluate(`for (const [id, v] of [["filter", ""], ["least", "critical"]]) {
			const e = document.getElementById(id); e.value = v; e.dispatchEvent(new Event("input")) }; 0`, new(int)),
		chromedp.Click("#open"),
		chromedp.Evaluate(visible, &severe),
		chromedp.Evaluate(`location.hash = "c2", 0`, new(int)),
		chromedp.Poll(`document.getElementById("c2").open ? 1 : 0`, &open, chromedp.WithPollingInterval(20*time.Millisecond)),
	)
	if err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Cancel(ctx); err != nil { // closes it, and waits
		t.Error(err)
	}
	if title != "leastcap audit" || all != 12 || dots < 60 {
		t.Errorf("%q: %d rows and cards, %d capabilities", title, all, dots)
	}
	if filtered != 4 { // vpn, and agent which has all
		t.Errorf("filtered by sys_module: %d rows and cards", filtered)
	}
	if severe != 4 {
		t.Errorf("critical ones: %d rows and cards", severe)
	}
	if open != 1 {
		t.Error("a container's card does not open when the page is asked for it")
	}
	if len(wrong) > 0 {
		t.Errorf("the browser complains: %q", wrong)
	}
	if *screenshot != "" {
		if err := os.WriteFile(*screenshot, shot, 0o644); err != nil {
			t.Error(err)
		}
	}
}
