// Command teeth asks whether the tests bite: it plants one bug after another in a copy of
// the tree, each kept as a patch beside this file, and expects the test that the patch
// names to fail. `make teeth` runs it.
//
//	go run ./tests/teeth [-v] [NAME...]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// folder is where the patches are, from the top of the tree.
const folder = "tests/teeth"

const (
	testTimeout  = 2 * time.Minute // of a test, which then ends itself
	buildTimeout = 5 * time.Minute // of everything that go does at once, a test included
)

// tooth is a planted bug.
type tooth struct {
	name  string
	patch string // its file
	what  string // is planted
	// pkg and run say which test must fail, and store what it runs on.
	pkg, run, store string
	// check is the one of `tidemark conformance` that must fail too, "" where the bug can't
	// be seen from outside while all goes well.
	check string
}

// kit is the test that holds a server against the protocol, as the command does.
var kit = tooth{pkg: "./tests/blackbox", run: "TestConformance/sqlite/open"}

// teeth reads the patches. What stands before the diff says what is planted, in its
// first line, and in lines of their own which test catches it and on which store.
func teeth(root string) ([]tooth, error) {
	files, err := filepath.Glob(filepath.Join(root, folder, "*.patch"))
	if err != nil {
		return nil, err
	}
	list := make([]tooth, len(files))
	for i, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		t := tooth{name: strings.TrimSuffix(filepath.Base(file), ".patch"), patch: file}
		head, _, _ := strings.Cut(string(text), "\ndiff ")
		t.what, _, _ = strings.Cut(head, "\n")
		t.pkg, t.run, _ = strings.Cut(headerLine(head, "caught-by"), " -run ")
		t.store, t.check = headerLine(head, "store"), headerLine(head, "conformance")
		if t.what == "" || t.pkg == "" || t.run == "" || t.store == "" {
			return nil, fmt.Errorf("%s does not begin with what is planted, which test catches it and on which store", file)
		}
		if strings.Contains(t.run, "|") {
			return nil, fmt.Errorf("%s names several tests: one that fails would hide one that passes", file)
		}
		list[i] = t
	}
	return list, nil
}

func headerLine(head, name string) string {
	_, rest, _ := strings.Cut(head, "\n"+name+": ")
	line, _, _ := strings.Cut(rest, "\n")
	return line
}

func main() {
	verbose := flag.Bool("v", false, "tell what is planted, and how the test fails")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, flag.Args(), *verbose)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "teeth:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, names []string, verbose bool) error {
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	all, err := teeth(root)
	if err != nil {
		return err
	}
	if len(names) > 0 {
		all = slices.DeleteFunc(all, func(t tooth) bool {
			return !slices.ContainsFunc(names, func(name string) bool { return strings.Contains(t.name, name) })
		})
	}
	if len(all) == 0 {
		return errors.New("there is no such patch")
	}
	temp, err := os.MkdirTemp("", "tidemark-teeth-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	// All copies are made at one place: go's cache knows what it has built there.
	m := mouth{root: root, tree: filepath.Join(temp, "tree"), sound: make(map[string]error)}
	caught := 0
	for _, t := range all {
		begun := time.Now()
		text, err := m.bite(ctx, t)
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		verdict := "caught"
		if err != nil {
			verdict = "NOT CAUGHT: " + err.Error()
		} else {
			caught++
		}
		also := ""
		if t.check != "" {
			also = ", and tidemark conformance"
		}
		fmt.Printf("%-30s %s (%s -run '%s', on %s%s, %.0f s)\n", t.name, verdict, t.pkg, t.run, t.store, also, time.Since(begun).Seconds())
		if verbose {
			fmt.Printf("\n%s\n\n%s\n", t.what, text)
		}
	}
	fmt.Printf("caught %d/%d\n", caught, len(all))
	if caught < len(all) {
		return errors.New("a planted bug was not caught")
	}
	return nil
}

// copyTree makes tree a copy of the files that git tracks, as they are now.
func copyTree(ctx context.Context, root, tree string) error {
	if err := os.RemoveAll(tree); err != nil {
		return err
	}
	list, err := output(ctx, root, "git", "ls-files", "-z")
	if err != nil {
		return err
	}
	for name := range strings.SplitSeq(strings.TrimRight(list, "\x00"), "\x00") {
		text, err := os.ReadFile(filepath.Join(root, name))
		if errors.Is(err, os.ErrNotExist) {
			continue // deleted, and not yet committed so
		}
		to := filepath.Join(tree, name)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(to), 0o700)
		}
		if err == nil {
			err = os.WriteFile(to, text, 0o600)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// mouth has the copies in which bugs are planted.
type mouth struct {
	root, tree string
	sound      map[string]error // tests that have run without any bug: nil if they pass
}

// bite plants the bug in a copy of the tree. Text: how the test failed. Error: why it is
// not caught.
func (m *mouth) bite(ctx context.Context, t tooth) (text string, err error) {
	if err := copyTree(ctx, m.root, m.tree); err != nil {
		return "", err
	}
	tests := []tooth{t}
	if t.check != "" {
		tests = append(tests, kit)
	}
	for _, test := range tests {
		if err := m.passes(ctx, test); err != nil {
			return "", err
		}
	}
	if text, err := output(ctx, m.tree, "git", "apply", t.patch); err != nil {
		return "", fmt.Errorf("%s does not apply: %w\n%s", t.patch, err, text)
	}
	// Without cmd and tests: their programs would be linked, which takes longer than the rest.
	if text, err := output(ctx, m.tree, "go", "build", ".", "./api/...", "./models/...", "./syncer/..."); err != nil {
		return "", fmt.Errorf("the patched tree does not compile: %w\n%s", err, text)
	}
	text, passes, err := t.test(ctx, m.tree)
	if err == nil && passes {
		err = errors.New("the test passes with the bug")
	}
	if err != nil || t.check == "" {
		return text, err
	}
	found, _, err := kit.test(ctx, m.tree)
	if err == nil && !faultOf(t.check).MatchString(found) {
		err = fmt.Errorf("tidemark conformance does not find it by %q:\n%s", t.check, found)
	}
	return text + "\n" + found, err
}

// faultOf is the line by which `tidemark conformance` tells of a check that failed.
func faultOf(check string) *regexp.Regexp {
	return regexp.MustCompile(`(?m)^\s*FAULT +[a-z]+ +` + regexp.QuoteMeta(check) + ` \(`)
}

// passes runs the test of t on the tree as it is, once for all patches that name it.
func (m *mouth) passes(ctx context.Context, t tooth) error {
	test := t.pkg + " " + t.run
	if err, known := m.sound[test]; known {
		return err
	}
	text, passes, err := t.test(ctx, m.tree)
	if err == nil && !passes {
		err = fmt.Errorf("the test fails without the bug:\n%s", text)
	}
	m.sound[test] = err
	return err
}

// asserted is the line of a test that says what is wrong. A build that fails, a panic and
// a test without an end have none.
var asserted = regexp.MustCompile(`(?m)^\s+\w+\.go:\d+: `)

// test runs the named test. That no test has this name is an error, and that it fails
// otherwise than by saying so.
func (t tooth) test(ctx context.Context, tree string) (text string, passes bool, err error) {
	text, err = output(ctx, tree, "go", "test", "-count=1", "-timeout", testTimeout.String(), t.pkg, "-run", t.run)
	switch {
	case strings.Contains(text, "no tests to run"):
		return text, false, errors.New("there is no such test")
	case err == nil:
		return text, true, nil
	case strings.Contains(text, "panic: test timed out"):
		return text, false, fmt.Errorf("no end within %s", testTimeout)
	case !strings.Contains(text, "--- FAIL: ") || !asserted.MatchString(text):
		return text, false, fmt.Errorf("it fails, but not by an assertion: %w\n%s", err, text)
	}
	return text, false, nil
}

// output runs a program in dir, for buildTimeout at most.
func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, buildTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.WaitDelay = 10 * time.Second // what it has started may hold the pipe
	text, err := cmd.CombinedOutput()
	return string(text), err
}
