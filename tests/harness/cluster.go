package harness

import (
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/tidemark/tidemark/tests/natstest"
	"github.com/tidemark/tidemark/tests/pgtest"
	"github.com/tidemark/tidemark/tests/redistest"
)

// EnvNodes and EnvBroker name the variables that run a suite on several nodes:
// where a test asks for a server on PostgreSQL it gets so many, behind one
// round-robin, that hear each other through this broker.
const (
	EnvNodes  = "TIDEMARK_TEST_NODES"
	EnvBroker = "TIDEMARK_TEST_BROKER"
)

// Broker is how the nodes of a cluster hear each other: one of the kinds below, or
// what --broker is to be, if it is a URL.
type Broker string

// The brokers. BrokerNone gives each node one of its own, so that every poke
// between nodes is lost.
const (
	BrokerPostgres Broker = "postgres"
	BrokerLogical  Broker = "logical"
	BrokerNATS     Broker = "nats"
	BrokerRedis    Broker = "redis"
	BrokerNone     Broker = "none"
)

// Brokers are all that connect nodes.
var Brokers = []Broker{BrokerPostgres, BrokerLogical, BrokerNATS, BrokerRedis}

// clusterPool is how many connections a node of a cluster may have: few, because
// many clusters share one PostgreSQL while the tests run.
const clusterPool = "8"

// ClusterOptions says which nodes to start. The zero value is three on a fresh
// database, with the broker that EnvBroker names or else that of PostgreSQL.
type ClusterOptions struct {
	Nodes  int
	Broker Broker
	// Node is what each of them is started with.
	Node Options
}

// Cluster is several servers on one PostgreSQL.
type Cluster struct {
	t     testing.TB
	nodes []*Server
	turn  atomic.Uint64
}

// StartCluster starts the nodes at once and waits until all are ready. They end
// with the test.
func StartCluster(t testing.TB, options ClusterOptions) *Cluster {
	t.Helper()
	if options.Nodes == 0 {
		options.Nodes = 3
	}
	if options.Broker == "" {
		options.Broker = DefaultBroker()
	}
	node := options.Node
	node.Store = Postgres
	if node.DatabaseURL == "" {
		node.DatabaseURL = WithSetting(t, options.Broker.Database(t), "pool_max_conns", clusterPool)
	}
	node.Env = append([]string{"TIDEMARK_BROKER=" + options.Broker.setting(t)}, node.Env...)
	c := &Cluster{t: t}
	for range options.Nodes {
		c.nodes = append(c.nodes, New(t, node))
	}
	var starting errgroup.Group
	for _, server := range c.nodes {
		starting.Go(server.run)
	}
	if err := starting.Wait(); err != nil {
		t.Fatalf("start a cluster: %v", err)
	}
	return c
}

// Nodes is how many nodes the variables ask for; 1 unless they do.
func Nodes() int {
	given := os.Getenv(EnvNodes)
	if given == "" {
		return 1
	}
	nodes, err := strconv.Atoi(given)
	if err != nil {
		panic(EnvNodes + "=" + given + " is not a number")
	}
	return nodes
}

// DefaultBroker is the one that EnvBroker names, or else that of PostgreSQL.
func DefaultBroker() Broker {
	if named := os.Getenv(EnvBroker); named != "" {
		return Broker(named)
	}
	return BrokerPostgres
}

// logicalServer is a PostgreSQL for brokers that ask more of it than its defaults.
var logicalServer = sync.OnceValues(func() (*pgtest.Server, error) {
	return pgtest.Launch(BrokerLogical.DatabaseSettings()...)
})

// DatabaseSettings are what the broker needs of PostgreSQL: for pgtest.Start.
func (b Broker) DatabaseSettings() []string {
	if b != BrokerLogical {
		return nil
	}
	return []string{"wal_level=logical", "max_wal_senders=60", "max_replication_slots=60"}
}

// Database returns the URL of a fresh database on which the broker can work.
func (b Broker) Database(t testing.TB) string {
	t.Helper()
	if b != BrokerLogical {
		return pgtest.URL(t)
	}
	server, err := logicalServer()
	if err != nil {
		t.Fatal(err)
	}
	return server.URL(t)
}

// natsServer is the one that all clusters of this process share.
var natsServer = sync.OnceValues(natstest.Launch)

// setting is what --broker is to be.
func (b Broker) setting(t testing.TB) string {
	t.Helper()
	switch b {
	case BrokerPostgres, BrokerLogical:
		return string(b)
	case BrokerNone:
		return "memory"
	case BrokerNATS:
		server, err := natsServer()
		if err != nil {
			t.Fatal(err)
		}
		return server.URL()
	case BrokerRedis:
		return redistest.Start(t).URL()
	}
	if !strings.Contains(string(b), "://") {
		t.Fatalf("there is no broker %q", b)
	}
	return string(b)
}

// Node returns one of the nodes, counted from 0; numbers go round.
func (c *Cluster) Node(i int) *Server { return c.nodes[i%len(c.nodes)] }

// Len is how many nodes there are.
func (c *Cluster) Len() int { return len(c.nodes) }

// URL is where the next node listens. Each call goes one further, as the
// requests behind a round-robin do.
func (c *Cluster) URL() string {
	turn := c.turn.Add(1)
	return c.nodes[turn%uint64(len(c.nodes))].ownURL()
}

// Client returns a client whose every request goes to the next node. Nodes that
// are down get their turn too: a client must be able to stand that.
func (c *Cluster) Client(token string) *Client {
	client := NewClient(c.URL, token)
	c.t.Cleanup(client.HTTP.CloseIdleConnections)
	return client
}

// DatabaseURL is what the nodes were given as their database.
func (c *Cluster) DatabaseURL() string { return c.nodes[0].databaseURL }

// startMany starts what a test takes for one server: options.Nodes of them, of
// which the first speaks for all.
func startMany(t testing.TB, options Options, nodes int) *Server {
	t.Helper()
	c := StartCluster(t, ClusterOptions{Nodes: nodes, Node: options})
	front := c.nodes[0]
	front.cluster, front.acknowledged = c, &versions{}
	return front
}

// versions remembers the newest version that a push to each space was answered
// with. A node may show a state that is up to a second old to who does not say
// what he knows of. A test written for one server expects to see all that was
// acknowledged before, so its clients say so in min_version.
type versions struct {
	mu     sync.Mutex
	newest map[string]int64
}

func (v *versions) saw(space string, version int64) {
	if v == nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.newest == nil {
		v.newest = make(map[string]int64)
	}
	v.newest[space] = max(v.newest[space], version)
}

func (v *versions) forget() {
	if v == nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.newest = nil
}

func (v *versions) of(space string) int64 {
	if v == nil {
		return 0
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.newest[space]
}

// WithSetting adds a setting to a database URL.
func WithSetting(t testing.TB, database, name, value string) string {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	query.Set(name, value)
	u.RawQuery = query.Encode()
	return u.String()
}
