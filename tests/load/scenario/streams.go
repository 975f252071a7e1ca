package scenario

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidemark/tidemark/tests/load/measure"
	"github.com/tidemark/tidemark/tests/load/stand"
)

// audience is a number of streams of one space, and the edits that they see.
type audience struct {
	streams int
	rate    float64 // edits per second
	edits   func(e *Env) int
	// others: the streams are served by another node than the one that is written to.
	others bool
	args   func(e *Env) (args []string, end func(), err error) // of the nodes; may be nil
}

func streamsCases() []Case {
	few := audience{streams: 1000, rate: 20, edits: func(e *Env) int { return editsIn(2*e.Duration, 20) }}
	many := audience{streams: 10_000, rate: 2, edits: func(e *Env) int { return editsIn(3*e.Duration, 2) }}
	memory := Row{
		Figure: StreamMemory, Title: "memory per stream", Unit: "KB", LessIsBetter: true, AtMost: 32,
		Instead: &Row{Figure: P50, Title: "acknowledged to seen, p50", Unit: "ms", LessIsBetter: true},
	}
	lost := Row{Figure: Lost, Title: "changes that did not arrive", Unit: "lost", LessIsBetter: true, None: true}
	return []Case{
		{
			Group: "streams", Name: "streams-1000", LimitName: "the same bytes from a bare net/http SSE loop",
			Rows: titled("1,000 streams, 20 edits/s: ", []Row{
				{Figure: P99, Title: "acknowledged to seen, p99", Unit: "ms", LessIsBetter: true, AtLeast: 0.5}, memory, lost,
			}),
			Seconds: func(e *Env) float64 { return 2 * (2*e.Duration.Seconds() + 4) },
			Needs:   manySubjects,
			Ours:    few.measure,
			Limit:   few.bare,
		},
		{
			Group: "streams10k", Name: "streams-10000",
			Rows:    titled("10,000 streams, 2 edits/s: ", []Row{memory, lost}),
			Seconds: func(e *Env) float64 { return 3*e.Duration.Seconds() + 15 },
			Needs:   manySubjects,
			Ours:    many.measure,
		},
	}
}

func titled(prefix string, rows []Row) []Row {
	all := make([]Row, len(rows))
	for i, row := range rows {
		row.Title = prefix + row.Title
		if row.Instead != nil {
			instead := *row.Instead
			instead.Title = prefix + instead.Title
			row.Instead = &instead
		}
		all[i] = row
	}
	return all
}

func editsIn(d time.Duration, rate float64) int { return max(2, int(d.Seconds()*rate)) }

// files is how many files a process needs for so many streams.
func files(streams int) uint64 { return uint64(streams) + 500 }

// measure runs the audience on fresh nodes.
func (a audience) measure(ctx context.Context, e *Env) (f Figures, err error) {
	ctx, cancel := context.WithTimeout(ctx, 4*e.Duration+4*time.Minute)
	defer cancel()
	if err := stand.AllowFiles(files(a.streams)); err != nil {
		return nil, err
	}
	d, end, err := a.deploy(ctx, e)
	if err != nil {
		return nil, err
	}
	defer end(&err)
	space := e.space()
	w, err := d.newWriter(ctx, 0, space)
	if err != nil {
		return nil, err
	}
	defer w.conn.Close()
	if err := w.create(ctx, documentsBefore); err != nil {
		return nil, err
	}
	reader, err := d.newPoller(ctx, 1, space)
	if err != nil {
		return nil, err
	}
	defer reader.conn.Close()
	if _, err := reader.catchUp(ctx); err != nil {
		return nil, err
	}
	h := newHall(e, a, w.push.Count())
	before := d.resident()
	if err = h.open(ctx, d, "/v1/spaces/"+space+"/stream?cursor="+string(reader.cursor)); err == nil {
		f, err = h.watch(ctx, d, func() error { return w.create(ctx, 1) })
	}
	after := d.resident()
	if err = errors.Join(err, h.close()); err != nil {
		return nil, err
	}
	h.addLatencies(f)
	if before > 0 && after > 0 {
		f[StreamMemory] = float64(after-before) / float64(a.streams) / (1 << 10)
	}
	return f, nil
}

// deploy starts one node, or two on one database.
func (a audience) deploy(ctx context.Context, e *Env) (d *deployment, end func(*error), err error) {
	options, stop := stand.NodeOptions{}, func() {}
	if a.args != nil {
		if options.Args, stop, err = a.args(e); err != nil {
			return nil, nil, err
		}
	}
	if d, err = e.deploy(ctx, e.SQLite, options); err == nil && a.others {
		err = d.addNode(ctx, options)
	}
	if err != nil {
		if d != nil {
			d.end(&err)
		}
		stop()
		return nil, nil, err
	}
	return d, func(err *error) { d.end(err); stop() }, nil
}

// resident is the memory of the node that the streams are on, 0 if that can't be known.
func (d *deployment) resident() int64 {
	if d.node == nil {
		return 0
	}
	memory, err := measure.MemoryOf(d.node.PID())
	if err != nil {
		return 0
	}
	return memory.Resident
}

// bare has the bare server send the bytes of the last event that the nodes sent.
func (a audience) bare(ctx context.Context, e *Env) (f Figures, err error) {
	ctx, cancel := context.WithTimeout(ctx, 4*e.Duration+time.Minute)
	defer cancel()
	if e.frames.numbered(1) == nil {
		return nil, errors.New("no event was seen whose bytes could be sent")
	}
	d, err := e.deployBare(ctx)
	if err != nil {
		return nil, err
	}
	defer d.end(&err)
	publisher, err := d.newPoller(ctx, 0, "")
	if err != nil {
		return nil, err
	}
	defer publisher.conn.Close()
	h := newHall(e, a, 0)
	edit := uint64(0)
	publish := func() error {
		edit++
		answer, err := publisher.conn.Do(ctx, d.target(0).Post("/publish", "", e.frames.numbered(edit)))
		if err == nil && answer.Status != 200 {
			err = fmt.Errorf("the bare server answered %d", answer.Status)
		}
		return err
	}
	if err = h.open(ctx, d, "/stream"); err == nil {
		f, err = h.watch(ctx, d, publish)
	}
	if err = errors.Join(err, h.close()); err != nil {
		return nil, err
	}
	h.addLatencies(f)
	return f, nil
}
