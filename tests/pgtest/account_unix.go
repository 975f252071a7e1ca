//go:build unix

package pgtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// account is the user that runs the server; the zero account is whoever runs the tests.
type account struct {
	credential *syscall.Credential
}

// unprivileged chooses the account. PostgreSQL refuses to run as root and
// initdb wants a user that has a name, so a bare free uid would not do.
func unprivileged() (account, error) {
	if os.Geteuid() != 0 {
		return account{}, nil
	}
	for _, name := range []string{"postgres", "nobody", "daemon"} {
		if found, err := user.Lookup(name); err == nil {
			return accountOf(found)
		}
	}
	return account{}, errors.New("PostgreSQL does not run as root: run the tests as another user, or add a user called postgres")
}

func accountOf(u *user.User) (account, error) {
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return account{}, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return account{}, err
	}
	return account{&syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
}

func (a account) own(path string) error {
	if a.credential == nil {
		return nil
	}
	return os.Chown(path, int(a.credential.Uid), int(a.credential.Gid))
}

// mayEnter reports whether the account can reach what is in dir.
func (a account) mayEnter(dir string) bool {
	if a.credential == nil {
		return true
	}
	for ; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil || info.Mode()&0o001 == 0 {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
	}
}

// tempDir makes the server's folder where the account can reach it: root's
// TMPDIR is often inside a home that nobody else may enter.
func tempDir(runAs account) (string, error) {
	for _, parent := range []string{os.TempDir(), "/tmp", "/var/tmp"} {
		if !runAs.mayEnter(parent) {
			continue
		}
		dir, err := os.MkdirTemp(parent, "tidemark-pg-")
		if err != nil {
			continue
		}
		return dir, runAs.own(dir)
	}
	return "", fmt.Errorf("no temporary folder that the user of the PostgreSQL server may enter: set TMPDIR")
}

// apply has the command run as the account.
func (a account) apply(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: a.credential}
}
