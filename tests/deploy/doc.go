// Package deploy holds what operators are given against what it is for: the commands of
// deploy/README.md are run as they stand there, nginx with its very configuration, and
// the files that say the same thing in several places are compared.
package deploy
