package pgtest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
	"github.com/gofrs/flock"
)

// archiveVersion pins what is fetched where no PostgreSQL is installed.
const archiveVersion = embeddedpostgres.V17

// installers lists where packages put the server's binaries without adding
// them to PATH: Debian, Red Hat, Homebrew on both architectures, Postgres.app,
// a build from source.
var installers = []string{
	"/usr/lib/postgresql/*/bin",
	"/usr/pgsql-*/bin",
	"/opt/homebrew/opt/postgresql@*/bin",
	"/opt/homebrew/opt/postgresql/bin",
	"/usr/local/opt/postgresql@*/bin",
	"/usr/local/opt/postgresql/bin",
	"/Applications/Postgres.app/Contents/Versions/*/bin",
	"/usr/local/pgsql/bin",
}

// findBinaries returns a folder that holds initdb and postgres.
func findBinaries() (string, error) {
	if dir := installed(); dir != "" {
		return dir, nil
	}
	dir, err := fetch()
	if err != nil {
		return "", fmt.Errorf("no PostgreSQL server for the tests: %s, or set %s (fetching an archive failed: %w)", howToInstall(), EnvURL, err)
	}
	return dir, nil
}

// Program is the path of another of PostgreSQL's programs, psql or pgbench: of
// the installation that the servers come from, else from PATH. An archive that
// was fetched holds the server alone.
func Program(name string) (string, error) {
	if dir := installed(); dir != "" {
		beside := filepath.Join(dir, name)
		if _, err := os.Stat(beside); err == nil {
			return beside, nil
		}
	}
	return exec.LookPath(name)
}

// installed returns the folder of the server that is installed, "" without one.
func installed() string {
	if dir := inPath(); dir != "" {
		return dir
	}
	for _, pattern := range installers {
		if dir := newest(pattern); dir != "" {
			return dir
		}
	}
	return ""
}

// inPath follows symbolic links, because only the real folder holds all programs
// (and initdb looks for postgres beside itself).
func inPath() string {
	found, err := exec.LookPath("initdb")
	if err != nil {
		return ""
	}
	if found, err = filepath.EvalSymlinks(found); err != nil {
		return ""
	}
	dir := filepath.Dir(found)
	if !holdsServer(dir) {
		return ""
	}
	return dir
}

func newest(pattern string) string {
	dirs, _ := filepath.Glob(pattern)
	slices.SortFunc(dirs, func(a, b string) int { return majorVersion(b) - majorVersion(a) })
	for _, dir := range dirs {
		if holdsServer(dir) {
			return dir
		}
	}
	return ""
}

// majorVersion finds the number in a path such as /usr/lib/postgresql/16/bin.
func majorVersion(dir string) int {
	digits := strings.FieldsFunc(dir, func(r rune) bool { return r < '0' || r > '9' })
	if len(digits) == 0 {
		return 0
	}
	version, _ := strconv.Atoi(digits[0])
	return version
}

func holdsServer(dir string) bool {
	for _, program := range []string{"initdb", "postgres"} {
		if info, err := os.Stat(filepath.Join(dir, program)); err != nil || info.IsDir() {
			return false
		}
	}
	return true
}

// fetch unpacks the pinned archive into the cache, once for all test processes.
func fetch() (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	lock := flock.New(filepath.Join(cache, "lock"))
	if err := lock.Lock(); err != nil {
		return "", err
	}
	defer lock.Unlock()

	unpacked := filepath.Join(cache, string(archiveVersion))
	bin := filepath.Join(unpacked, "bin")
	if holdsServer(bin) {
		return bin, nil
	}
	scratch, err := os.MkdirTemp("", "tidemark-pg-fetch-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(scratch)
	port, err := freePort()
	if err != nil {
		return "", err
	}
	database := embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().
		Version(archiveVersion).
		CachePath(cache).
		BinariesPath(unpacked).
		RuntimePath(filepath.Join(scratch, "run")).
		Port(uint32(port)).
		Logger(io.Discard))
	// The library cannot only fetch, so a server of its own is started and stopped.
	// As root that start fails, after the archive was unpacked: what counts is
	// whether the binaries are there.
	started := database.Start()
	if started == nil {
		started = database.Stop()
	}
	if !holdsServer(bin) {
		if started == nil {
			started = errors.New("the archive holds no server")
		}
		return "", started
	}
	return bin, nil
}

// cacheDir is the user's cache, or the machine's where the server runs as
// another user than root and could not enter root's home.
func cacheDir() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/cache/tidemark-test-postgres", nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(cache, "tidemark-test-postgres"), nil
}

func howToInstall() string {
	switch runtime.GOOS {
	case "darwin":
		return "run `brew install postgresql@17`"
	case "linux":
		return "run `sudo apt-get install postgresql` (or your distribution's server package)"
	default:
		return "install PostgreSQL 14 or newer"
	}
}
