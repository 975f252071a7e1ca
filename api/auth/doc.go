// Package auth says who sends a request and what they may do: it checks a JWT
// (RFC 7519) and turns it into a Principal.
//
// A token says where its bearer may read and write:
//
//	{"sub": "alice", "exp": 1795430000, "spaces": {"team-42": "rw", "news-*": "r", "shop": "rw:carts,orders"}}
//
// What stands behind a colon narrows it to some collections of the space.
//
// The algorithm and the keys come from the configuration and never from the
// token. What a token lacks or has wrong is one sentence for its owner; which
// key it was tried with is nobody's business.
package auth
