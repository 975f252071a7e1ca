//nolint:paralleltest // the environment is the process's
package main

import (
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

var (
	// shellBlock is a block of commands; a command may go on in the next line.
	shellBlock = regexp.MustCompile("(?s)```sh\n(.*?)```")
	// ofTidemark is a command of the binary, wherever it is in a line, without what a
	// shell does with what it writes. Elsewhere a name or a flag's value is called that.
	ofTidemark = regexp.MustCompile(`(?:^|[ /(;])tidemark ([a-z][^|>&;)#]*)`)
	// word is a word of a command, with its quotes.
	word = regexp.MustCompile(`(?:'[^']*'|"[^"]*"|[^\s'"])+`)
	// variable is put in by the shell.
	variable = regexp.MustCompile(`\$\w+`)
)

// TestDocs_commands: each command of the binary that the documents show is one that it
// knows, with its flags and arguments.
func TestDocs_commands(t *testing.T) {
	for _, document := range []struct {
		file  string
		least int
	}{{"../../deploy/README.md", 30}, {"../../README.md", 4}} {
		text, err := os.ReadFile(document.file)
		if err != nil {
			t.Fatal(err)
		}
		var shown [][]string
		for _, block := range shellBlock.FindAllStringSubmatch(string(text), -1) {
			for line := range strings.Lines(strings.ReplaceAll(block[1], "\\\n", " ")) {
				shown = append(shown, commandsIn(line)...)
			}
		}
		if len(shown) < document.least {
			t.Errorf("%s shows only %q", document.file, shown)
		}
		for _, args := range shown {
			if err := parses(t, args); err != nil {
				t.Errorf("%s has tidemark %s: %v", document.file, strings.Join(args, " "), err)
			}
		}
	}
	// What is not there is found.
	for _, line := range []string{
		"tidemark stats --least 5", "bin/tidemark exprot home", "tidemark space delete home work", "tidemark backup", "x | tidemark import --no -",
	} {
		if found := commandsIn(line); len(found) != 1 || parses(t, found[0]) == nil {
			t.Errorf("%s passes: %q", line, found)
		}
	}
}

// commandsIn returns the arguments of each call of the binary in a line of shell.
func commandsIn(line string) (all [][]string) {
	line = variable.ReplaceAllString(strings.TrimSpace(line), "x")
	line = strings.ReplaceAll(line, "-n tidemark ", "-n x ") // kubectl's namespace
	for _, found := range ofTidemark.FindAllStringSubmatch(line, -1) {
		args := []string{}
		for _, w := range word.FindAllString(found[1], -1) {
			args = append(args, strings.NewReplacer("'", "", `"`, "").Replace(w))
		}
		all = append(all, args)
	}
	return all
}

// parses reports what the command line's parser says, without running anything.
func parses(t *testing.T, args []string) error {
	t.Helper()
	var c commands
	parser, err := kong.New(&c, kong.Name("tidemark"), kong.Writers(io.Discard, io.Discard), kong.Bind(&c.Settings, output{}))
	if err != nil {
		t.Fatal(err)
	}
	_, err = parser.Parse(args)
	return err
}
