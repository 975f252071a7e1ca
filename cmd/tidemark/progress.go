package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
)

// tellEvery is how often a line says how far it has come where nobody sits at a terminal.
const tellEvery = 10 * time.Second

// progress shows how far something long has come, with its rate and the time that is
// left: a bar on a terminal, a line now and then elsewhere.
type progress struct {
	to     io.Writer
	doing  string
	bar    *progressbar.ProgressBar // nil: lines
	total  int64                    // about
	done   int64
	began  time.Time
	told   time.Time
	unseen int // since the clock was looked at
}

func newProgress(to io.Writer, doing string) *progress {
	return &progress{to: to, doing: doing}
}

// begin says how much is to come.
func (p *progress) begin(total int64) {
	p.total, p.began, p.told = total, time.Now(), time.Now()
	if f, ok := p.to.(*os.File); ok && terminal(f) {
		p.bar = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(p.to), progressbar.OptionSetDescription(p.doing), progressbar.OptionSetWidth(30),
			progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("documents"),
			progressbar.OptionSetPredictTime(true), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(),
		)
		_ = p.bar.RenderBlank() // from here on it counts the time
	}
}

// add counts a document. The clock is looked at now and then.
func (p *progress) add() {
	p.done++
	if p.unseen++; p.unseen < 100 {
		return
	}
	n := p.unseen
	p.unseen = 0
	if p.bar != nil {
		if p.done > p.total {
			p.total = p.done // tombstones were not counted
			p.bar.ChangeMax64(p.total)
		}
		_ = p.bar.Add(n) // a bar that can't be drawn is no reason to stop
		return
	}
	if now := time.Now(); now.Sub(p.told) >= tellEvery {
		p.told = now
		fmt.Fprintln(p.to, p.line(now))
	}
}

// line says in one line what the bar shows. There is no rate before something has come
// and time has passed.
func (p *progress) line(now time.Time) string {
	far := fmt.Sprintf("%s: %d of about %d documents", p.doing, p.done, max(p.total, p.done))
	passed := now.Sub(p.began).Seconds()
	if p.done == 0 || passed <= 0 {
		return far
	}
	rate := float64(p.done) / passed
	left := time.Duration(float64(max(p.total-p.done, 0)) / rate * float64(time.Second))
	return fmt.Sprintf("%s, %.0f/s, %s left", far, rate, left.Round(time.Second))
}

// end takes the bar away.
func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}
