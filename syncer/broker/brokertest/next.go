package brokertest

import "github.com/tidemark/tidemark/syncer"

// Next returns the next message about one space. A broker may say at any time that
// everything may have changed, and twice when it was about to connect as a Run began.
func Next(heard <-chan syncer.Message) syncer.Message {
	for {
		if m := <-heard; m.Space != "" {
			return m
		}
	}
}
