package pgtest

import "os/exec"

// What follows is for tests that start PostgreSQL by way of other programs.

// Binaries is the folder that holds the server's programs.
func Binaries() (string, error) { return findBinaries() }

// Folder makes a temporary folder for servers that are started as Unprivileged says.
func Folder() (string, error) {
	runAs, err := unprivileged()
	if err != nil {
		return "", err
	}
	return tempDir(runAs)
}

// Unprivileged has the command run as a user as whom PostgreSQL runs.
func Unprivileged(cmd *exec.Cmd) error {
	runAs, err := unprivileged()
	if err == nil {
		runAs.apply(cmd)
	}
	return err
}
