package main

import (
	"fmt"
	"os"

	"github.com/schollz/progressbar/v3"

	"github.com/tidemark/tidemark/tests/load/scenario"
)

// progress shows how far the bench has come: a bar on a terminal, and a line
// for every round.
type progress struct {
	bar *progressbar.ProgressBar // nil elsewhere
}

func newProgress(cases []scenario.Case, rounds int, env *scenario.Env) *progress {
	if info, err := os.Stderr.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return &progress{}
	}
	seconds := 0.0
	for _, c := range cases {
		seconds += c.Seconds(env) * float64(rounds)
	}
	return &progress{bar: progressbar.NewOptions64(int64(1000*seconds),
		progressbar.OptionSetWriter(os.Stderr), progressbar.OptionSetWidth(30), progressbar.OptionFullWidth(),
		progressbar.OptionSetPredictTime(true), progressbar.OptionSetElapsedTime(true), progressbar.OptionClearOnFinish(),
	)}
}

// begin says what is measured now.
func (p *progress) begin(c scenario.Case, round int) {
	if p.bar != nil {
		p.bar.Describe(fmt.Sprintf("%s, round %d", c.Name, round+1))
	}
}

// done is told of every part of a round, with about how long it takes.
func (p *progress) done(seconds float64) {
	if p.bar != nil {
		p.bar.Add64(int64(1000 * seconds))
	}
}

func (p *progress) line(text string) {
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
