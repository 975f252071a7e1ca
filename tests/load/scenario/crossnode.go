package scenario

import (
	"fmt"

	"github.com/tidemark/tidemark/tests/natstest"
)

// crossnodeCases: an edit is acknowledged by one node and seen on a stream of
// another. The machine is otherwise idle, so this is the way of the poke and
// not the queue before it.
func crossnodeCases() []Case {
	var cases []Case
	for _, broker := range []struct {
		name, title string
		args        func(e *Env) (args []string, end func(), err error)
		needs       func(e *Env) string
	}{
		{"notify", "LISTEN/NOTIFY", nil, twoNodes},
		{"nats", "NATS", natsBroker, ownNodes},
	} {
		pair := audience{
			streams: 1, rate: 10, edits: func(e *Env) int { return editsIn(2*e.Duration, 10) },
			others: true, args: broker.args,
		}
		cases = append(cases, Case{
			Group: "crossnode", Name: "crossnode-" + broker.name,
			Rows: []Row{
				{
					Figure: P50, Title: fmt.Sprintf("a stream of another node, %s: acknowledged to seen, p50", broker.title),
					Unit: "ms", LessIsBetter: true, AtMost: 15,
				},
				{Figure: Lost, Title: fmt.Sprintf("a stream of another node, %s: changes that did not arrive", broker.title), Unit: "lost", LessIsBetter: true, None: true},
			},
			Seconds: func(e *Env) float64 { return 2*e.Duration.Seconds() + 2 },
			Ours:    pair.measure,
			Needs:   broker.needs,
		})
	}
	return cases
}

func natsBroker(*Env) (args []string, end func(), err error) {
	server, err := natstest.Launch()
	if err != nil {
		return nil, nil, err
	}
	return []string{"--broker", server.URL()}, server.Stop, nil
}
