package main

import (
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/tidemark/tidemark/syncer/fault"
)

const variablePrefix = "TIDEMARK_"

// variables are the environment variables that are read, sorted.
type variables []string

// knownVariables are those of the settings and of the commands' own flags.
func knownVariables(app *kong.Application) variables {
	names := variablesOf(app.Node)
	slices.Sort(names)
	return slices.Compact(names)
}

func variablesOf(node *kong.Node) (names variables) {
	for _, flag := range node.Flags {
		names = append(names, flag.Envs...)
	}
	for _, child := range node.Children {
		names = append(names, variablesOf(child)...)
	}
	return names
}

// check refuses variables that look like ours and are not: otherwise a typo in
// a setting would mean the default, without a word.
func (v variables) check() error {
	for _, entry := range os.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, variablePrefix) || slices.Contains(v, name) || foreign(name, value) {
			continue
		}
		if near := v.nearest(name); near != "" {
			return usagef("there is no setting %s; did you mean %s?", name, near)
		}
		return usagef("there is no setting %s; tidemark serve --help lists all", name)
	}
	return nil
}

// forTests are read by the test suites, not by the server.
var forTests = []string{"TIDEMARK_BIN", "TIDEMARK_SEED", "TIDEMARK_URL"}

// Kubernetes injects variables for each service of the namespace; those of one
// called tidemark, or tidemark-something, begin like ours. …_PORT is a URL
// there: with a number it is somebody's guess at --listen.
var (
	kubernetes    = regexp.MustCompile(`^TIDEMARK_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?)$`)
	kubernetesURL = regexp.MustCompile(`^TIDEMARK_([A-Z0-9_]+_)?PORT$`)
)

// foreign reports whether a variable is meant for somebody else.
func foreign(name, value string) bool {
	return strings.HasPrefix(name, "TIDEMARK_TEST_") || fault.Enabled && name == fault.Variable || slices.Contains(forTests, name) ||
		kubernetes.MatchString(name) || kubernetesURL.MatchString(name) && strings.Contains(value, "://")
}

// nearest returns the setting that name probably means, "" if none is near.
func (v variables) nearest(name string) string {
	best, least := "", 4 // edits; more is another word
	for _, known := range v {
		if d := distance(name, known); d < least {
			best, least = known, d
		}
	}
	return best
}

// distance is Levenshtein's: how many letters must be put in, left out or
// replaced to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
