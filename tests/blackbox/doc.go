// Package blackbox tests over HTTP what only shows when several things happen
// at once or something breaks: races between writers and followers, pushes sent
// twice, connections cut at any byte, long polls, SIGKILL. It runs the real
// binary on both stores.
package blackbox
