package brokertest

import "github.com/tidemark/tidemark/syncer"

// Next returns the next message about one space, none if heard is closed. A broker may say at any time that
// everything may have changed, and twice when it was about to connect as a Run began.
func Next(heard <-chan syncer.Message) syncer.Message {
	for m := range heard {
		if m.Space != "" {
			return m
		}
	}
	return syncer.Message{}
}
