package scenario

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/tidemark/tidemark/tests/load/measure"
	"github.com/tidemark/tidemark/tests/load/stand"
	"github.com/tidemark/tidemark/tests/load/wire"
)

// Env is what the cases of one run share.
type Env struct {
	// Stand starts what is measured; nil if Targets is a deployment that is there.
	Stand   *stand.Stand
	Targets []wire.Target
	// Token goes with every request to Targets, or Secret signs a token for each client.
	Token, Secret string
	// SQLite has the bench's own nodes run on it where the case has no wish; else
	// they run on PostgreSQL.
	SQLite   bool
	Duration time.Duration // of each measurement
	Dir      string        // for scripts and raw output

	// Prefix begins the names of all spaces; another one for each run.
	Prefix string

	spaces atomic.Int64
	frames frames
}

// warmup is how long a load runs before it is measured.
func (e *Env) warmup() time.Duration { return min(time.Second, e.Duration/4) }

// space returns the name of a space that nobody has used.
func (e *Env) space() string { return fmt.Sprintf("%s-%d", e.Prefix, e.spaces.Add(1)) }

// deployment is what a case measures: nodes of the bench, or the user's own.
type deployment struct {
	env      *Env
	targets  []wire.Target
	node     *stand.Process // nil: the user's own
	second   *stand.Process // nil but where a case has two nodes
	postgres *stand.Postgres
}

// deploy starts a node on a fresh database.
func (e *Env) deploy(ctx context.Context, sqlite bool, options stand.NodeOptions) (*deployment, error) {
	if e.Stand == nil {
		return &deployment{env: e, targets: e.Targets}, nil
	}
	d := &deployment{env: e}
	var err error
	if sqlite {
		d.node, err = e.Stand.Node(ctx, options)
	} else {
		if d.postgres, err = e.Stand.Postgres(ctx); err != nil {
			return nil, err
		}
		d.node, err = e.Stand.PostgresNode(ctx, options)
	}
	if err != nil {
		return nil, err
	}
	target, err := wire.ParseTarget(d.node.URL)
	if err != nil {
		return nil, errors.Join(err, d.node.Stop())
	}
	d.targets = []wire.Target{target}
	return d, nil
}

// addNode starts a second node on the database of the first. In a deployment of
// the user's own there must be one already.
func (d *deployment) addNode(ctx context.Context, options stand.NodeOptions) (err error) {
	if d.node == nil {
		if len(d.targets) < 2 {
			return errors.New("this needs the URLs of two nodes")
		}
		return nil
	}
	options.DatabaseURL = d.node.DatabaseURL
	if d.second, err = d.env.Stand.Node(ctx, options); err != nil {
		return err
	}
	target, err := wire.ParseTarget(d.second.URL)
	d.targets = append(d.targets, target)
	return err
}

// deployBare starts the bare server, as if it were a node.
func (e *Env) deployBare(ctx context.Context) (*deployment, error) {
	server, err := e.Stand.Bare(ctx)
	if err != nil {
		return nil, err
	}
	target, err := wire.ParseTarget(server.URL)
	return &deployment{env: e, targets: []wire.Target{target}, node: server}, err
}

// end stops the nodes, if they are the bench's, and adds what goes wrong to err.
func (d *deployment) end(err *error) {
	if d.second != nil {
		*err = errors.Join(*err, d.second.Stop())
	}
	if d.node != nil {
		*err = errors.Join(*err, d.node.Stop())
	}
}

// settle lets what was prepared come to rest before the measurement.
func (d *deployment) settle(ctx context.Context) error {
	if d.postgres == nil {
		return nil
	}
	return d.postgres.Checkpoint(ctx)
}

// target is where client i goes: round robin over the nodes.
func (d *deployment) target(i int) wire.Target { return d.targets[i%len(d.targets)] }

// token is client i's.
func (d *deployment) token(i int) (string, error) {
	switch {
	case d.node != nil:
		return stand.Token(stand.Secret, fmt.Sprintf("subject-%d", i))
	case d.env.Secret != "":
		return stand.Token(d.env.Secret, fmt.Sprintf("subject-%d", i))
	default:
		return d.env.Token, nil
	}
}

// usage is how much processor time everybody has used so far.
type usage struct {
	at                       time.Time
	server, postgres, client time.Duration
	served                   bool // server and postgres are known
}

// meter reads usage of what serves and of what loads.
func (d *deployment) meter() usage {
	u := usage{at: time.Now()}
	u.client, _ = measure.CPU(os.Getpid()) // 0 where that can't be read
	if d.node == nil || d.second != nil {
		// Where there are two nodes nobody asks what they use.
		return u
	}
	var err error
	u.server, err = measure.CPU(d.node.PID())
	if err == nil && d.postgres != nil {
		u.postgres, err = measure.CPUTree(d.postgres.PID())
	}
	u.served = err == nil
	return u
}
