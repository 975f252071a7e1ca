package top

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/tidemark/tidemark/syncer/guard"
)

const (
	// lookTimeout bounds what a look waits for: a node that is away is shown as such.
	lookTimeout = 4 * time.Second

	// maxAnswer is far more than a node has to tell.
	maxAnswer = 16 << 20
)

// Space is one of the hottest.
type Space struct {
	Name      string
	Head      int64 // its newest version: microseconds of Unix time
	Documents int64
	Changed   int // documents that were changed in the last minute
}

// Options say what is looked at.
type Options struct {
	Nodes    []string // where they are, without /metrics
	Token    string   // that opens /metrics; "" without auth
	Interval time.Duration

	// Spaces returns the n hottest spaces. Nil: they are not shown.
	Spaces func(ctx context.Context, n int) ([]Space, error)

	// Now is the clock. Default: time.Now.
	Now func() time.Time
}

// looked is what one look at everything has seen.
type looked struct {
	at     time.Time
	nodes  []answer
	spaces []Space
	// spacesErr is why spaces are the ones of before.
	spacesErr error
}

// answer is a reading or an error.
type answer struct {
	reading *reading
	err     error
}

// look asks all nodes, and the database for its spaces, at the same time.
func (o *Options) look(ctx context.Context) looked {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	l := looked{nodes: make([]answer, len(o.Nodes))}
	var all sync.WaitGroup
	for i, node := range o.Nodes {
		all.Go(func() {
			l.nodes[i].err = guard.Call(func() (err error) {
				l.nodes[i].reading, err = o.ask(ctx, node)
				return err
			})
		})
	}
	if o.Spaces != nil {
		l.spaces, l.spacesErr = o.Spaces(ctx, maxSpaces)
	}
	all.Wait()
	l.at = o.Now()
	return l
}

// ask reads /metrics of a node, and which version it is.
func (o *Options) ask(ctx context.Context, node string) (*reading, error) {
	body, err := o.get(ctx, node+"/metrics")
	if err != nil {
		return nil, err
	}
	r, err := parse(strings.NewReader(body), o.Now())
	if err != nil {
		return nil, fmt.Errorf("/metrics is not what Prometheus reads: %w", err)
	}
	if r.version == "" {
		r.version = o.version(ctx, node)
	}
	return &r, nil
}

// version asks the API, which may not be at the address of the metrics.
func (o *Options) version(ctx context.Context, node string) string {
	var config struct {
		Versions struct {
			Server string `json:"server"`
		} `json:"versions"`
	}
	body, err := o.get(ctx, node+"/v1/config")
	if err != nil || json.Unmarshal([]byte(body), &config) != nil {
		return ""
	}
	return config.Versions.Server
}

func (o *Options) get(ctx context.Context, address string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", err
	}
	if o.Token != "" {
		request.Header.Set("Authorization", "Bearer "+o.Token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		if failed, ok := errors.AsType[*url.Error](err); ok {
			err = failed.Err // the address is shown anyway
		}
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	switch {
	case err != nil:
		return "", err
	case response.StatusCode == http.StatusUnauthorized:
		return "", fmt.Errorf("%s: give a token in TIDEMARK_METRICS_TOKEN", response.Status)
	case response.StatusCode == http.StatusNotFound:
		return "", fmt.Errorf("%s: is this a proxy, or has the node another address for its metrics?", response.Status)
	case response.StatusCode != http.StatusOK:
		return "", errors.New(response.Status)
	}
	return string(body), nil
}
