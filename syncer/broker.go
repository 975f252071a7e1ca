package syncer

import "context"

// Poke says that a space has a new version. It carries no data and may be lost,
// doubled or late: who receives one looks into the store.
type Poke struct {
	Space   string
	Version int64
}

// Broker carries pokes between engines.
type Broker interface {
	// Publish announces p. It doesn't wait for anybody to hear it, and p may be
	// merged with other pokes of the same space.
	Publish(ctx context.Context, p Poke) error

	// Run calls deliver for each poke, one at a time, until ctx ends. Engines
	// that run on the same broker each hear every poke, also their own.
	Run(ctx context.Context, deliver func(Poke)) error
}
