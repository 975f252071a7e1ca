// Package blackbox tests over HTTP what only shows when several things happen
// at once or something breaks: races between writers and followers, pushes sent
// twice, connections cut at any byte, long polls, nodes that are killed, frozen
// or out of touch with each other, a database that crashes, is full or locked. It
// runs the real binary on both stores, alone and as one of several nodes.
package blackbox
