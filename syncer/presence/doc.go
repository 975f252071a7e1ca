// Package presence knows who is here: which clients are present in which space,
// and the small state that each of them shows. All of it is in memory, on every
// node; nothing is written to a database, and a node that starts knows nobody
// until the next heartbeats.
//
// # Heartbeats
//
// A client is present from its first heartbeat until it leaves or its ttl has
// passed without another one. A client id belongs to the subject that is present
// with it, so nobody speaks for another's client.
//
// # Between nodes
//
// The node that gets a heartbeat tells the others through the broker: the whole
// entry each time, so that a node that missed one learns by the next. Messages
// may be lost, doubled, late and in any order, and a client may speak to one node
// now and to another a moment later. So every entry and every departure has a
// stamp, and of two that speak of one client the newer stamp wins on every node:
//
//   - a message that comes twice, or comes back to its sender, finds its own stamp
//     there and changes nothing, not even how long somebody is present;
//   - a late one finds a newer stamp there. That of who has left or expired is
//     remembered for a while (see departed), or the last heartbeat, coming after
//     the departure, would bring somebody back.
//
// A stamp is the time of the node that made it, but always newer than every stamp
// that node has seen. So a node with a slow clock does not lose to the others for
// ever: one message from them, and it is ahead. Ties go by the node's id. How long
// somebody is present each node measures by its own clock from when it heard, so
// clocks that differ make nobody expire.
//
// Two subjects can come with one client id on two nodes within the time that a
// message takes. Both are let in, the newer stamp stays, and the other's next
// heartbeat is refused.
//
// A space has a limit of clients, which is checked where they come in. Nodes that
// do so at the same time may exceed it together by a few; what the others tell is
// never refused for that reason, because then nodes would disagree for as long as
// the space is full.
package presence
