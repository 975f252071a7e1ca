package top

import (
	"context"
	"errors"
	"io"
	"time"

	tea "charm.land/bubbletea/v2"
)

// node is what is known of one.
type node struct {
	url string
	change
	err error // of the last look
}

// screen is what is shown. It changes by messages alone.
type screen struct {
	ctx       context.Context //nolint:containedctx // bubbletea's commands are given none
	options   Options
	nodes     []node
	spaces    []Space
	spacesErr error
	at        time.Time
	height    int
}

func newScreen(ctx context.Context, o Options) *screen {
	if o.Now == nil {
		o.Now = time.Now
	}
	m := &screen{ctx: ctx, options: o, nodes: make([]node, len(o.Nodes)), at: o.Now()}
	for i, url := range o.Nodes {
		m.nodes[i].url = url
	}
	return m
}

// due says that it is time for another look.
type due struct{}

// Init implements tea.Model.
func (m *screen) Init() tea.Cmd { return m.look }

func (m *screen) look() tea.Msg { return m.options.look(m.ctx) }

// Update implements tea.Model. A look begins an interval after the last has ended, so
// that slow nodes are not asked twice at a time.
func (m *screen) Update(message tea.Msg) (tea.Model, tea.Cmd) {
	switch message := message.(type) {
	case looked:
		m.take(message)
		return m, tea.Tick(m.options.Interval, func(time.Time) tea.Msg { return due{} })
	case due:
		return m, m.look
	case tea.WindowSizeMsg:
		m.height = message.Height
	case tea.KeyPressMsg:
		switch message.String() {
		case "q", "esc", "ctrl+c":
			return m, tea.Quit
		}
	}
	return m, nil
}

// take takes in what a look has seen. A node that did not answer keeps its newest
// reading: its rates, once it is back, are those of the time since.
func (m *screen) take(l looked) {
	m.at = l.at
	for i, answer := range l.nodes {
		n := &m.nodes[i]
		n.err = answer.err
		if answer.err == nil {
			n.before, n.after = n.after, answer.reading
		}
	}
	if m.spacesErr = l.spacesErr; l.spacesErr == nil {
		m.spaces = l.spaces
	}
}

// View implements tea.Model.
func (m *screen) View() tea.View {
	hint := onTerminal.head.Render("q ends")
	view := tea.NewView(m.frame(onTerminal, m.height-1) + hint)
	view.AltScreen = true
	view.WindowTitle = "tidemark top"
	return view
}

// Run shows frames on a terminal until somebody types q, or ctx ends.
func Run(ctx context.Context, o Options, input io.Reader, output io.Writer) error {
	program := tea.NewProgram(newScreen(ctx, o), tea.WithContext(ctx), tea.WithInput(input), tea.WithOutput(output), tea.WithoutSignalHandler())
	_, err := program.Run()
	if ctx.Err() != nil && errors.Is(err, tea.ErrProgramKilled) {
		return nil // somebody asked for it
	}
	return err
}

// Once prints one frame as text, of what happens within an interval. Error: no node
// answers.
func Once(ctx context.Context, o Options, output io.Writer) error {
	m := newScreen(ctx, o)
	m.take(m.options.look(ctx))
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(o.Interval):
	}
	m.take(m.options.look(ctx))
	if _, err := io.WriteString(output, m.frame(styles{}, 0)); err != nil {
		return err
	}
	var failed []error
	for i := range m.nodes {
		if m.nodes[i].err == nil {
			return nil
		}
		failed = append(failed, m.nodes[i].err)
	}
	return errors.Join(failed...)
}
