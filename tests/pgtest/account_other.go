//go:build !unix

package pgtest

import (
	"errors"
	"os/exec"
)

// account is empty here: these tests start PostgreSQL themselves on Unix only.
type account struct{}

var errExternalOnly = errors.New("on this system the tests do not start PostgreSQL themselves: set " + EnvURL)

func unprivileged() (account, error)     { return account{}, errExternalOnly }
func tempDir(account) (string, error)    { return "", errExternalOnly }
func (account) apply(*exec.Cmd)          {}
func (account) own(string) error         { return nil }
func (account) mayEnter(dir string) bool { return true }
