package stand

import (
	"errors"

	"github.com/nats-io/nats-server/v2/server"
)

// NATS starts a NATS server inside this process, and returns its URL and what
// ends it.
func (s *Stand) NATS() (url string, end func(), err error) {
	nats, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true})
	if err != nil {
		return "", nil, err
	}
	nats.Start()
	end = func() {
		nats.Shutdown()
		nats.WaitForShutdown()
	}
	if !nats.ReadyForConnections(startTimeout) {
		end()
		return "", nil, errors.New("the NATS server did not start")
	}
	return nats.ClientURL(), end, nil
}
