package syncer

import "context"

// Poke says that a space has a new version. It carries no data and may be lost,
// doubled or late: who receives one looks into the store.
type Poke struct {
	Space   string
	Version int64
}

// Broker carries pokes between engines. The suite in broker/brokertest says the
// same as these comments, as tests.
type Broker interface {
	// Publish announces p. It doesn't wait for anybody to hear it, and p may be
	// merged with other pokes of the same space: then the newest version arrives.
	// It may be called at any time from any goroutine, also while nobody runs.
	Publish(ctx context.Context, p Poke) error

	// Run calls deliver for each poke published meanwhile, one at a time, until
	// ctx ends. Then it returns nil, after the last deliver has returned. An error
	// means that it can't go on. Each of several Runs hears every poke, also those
	// of its own engine. A deliver that takes long delays pokes, not publishers.
	Run(ctx context.Context, deliver func(Poke)) error
}
