package main

import (
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress shows on a terminal how far the runs have come, by how long each of them
// takes, about; a line for every run is printed anywhere.
type progress struct {
	bar   *progressbar.ProgressBar // nil elsewhere
	mu    sync.Mutex
	ended int64 // seconds of the runs that are done
	stop  chan struct{}
	wait  sync.WaitGroup
}

func newProgress(runs []plannedRun) *progress {
	if info, err := os.Stderr.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return &progress{}
	}
	var total int64
	for _, run := range runs {
		total += int64(run.about.Seconds())
	}
	return &progress{bar: progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(os.Stderr), progressbar.OptionSetWidth(30), progressbar.OptionFullWidth(),
		progressbar.OptionSetPredictTime(true), progressbar.OptionSetElapsedTime(true), progressbar.OptionClearOnFinish(),
	)}
}

// begin shows what is run now, and lets the bar grow meanwhile.
func (p *progress) begin(run plannedRun) {
	if p.bar == nil {
		return
	}
	p.stop = make(chan struct{})
	p.bar.Describe(fmt.Sprintf("%s, seed %d", run.name, run.seed))
	p.wait.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for second := int64(1); ; second++ {
			select {
			case <-tick.C:
				p.mu.Lock()
				p.bar.Set64(p.ended + min(second, int64(run.about.Seconds())))
				p.mu.Unlock()
			case <-p.stop:
				return
			}
		}
	})
}

func (p *progress) done(run plannedRun) {
	if p.bar == nil {
		return
	}
	close(p.stop)
	p.wait.Wait()
	p.ended += int64(run.about.Seconds())
	p.bar.Set64(p.ended)
}

func (p *progress) line(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		p.bar.Clear()
	}
	fmt.Println(text)
}

func (p *progress) end() {
	if p.bar != nil {
		p.bar.Finish()
	}
}
