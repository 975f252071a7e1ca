// Command teeth asks whether the tests bite: it plants one bug after another in a copy of
// the tree, each kept as a patch beside this file, and expects the test that the patch
// names to fail. `make teeth` runs it.
//
//	go run ./tests/teeth [NAME...]
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// folder is where the patches are, from the top of the tree.
const folder = "tests/teeth"

// testTimeout bounds one run of a test.
const testTimeout = 3 * time.Minute

// tooth is a planted bug.
type tooth struct {
	name  string
	patch string // its file
	what  string // is planted
	// pkg and run say which test must fail.
	pkg, run string
}

// teeth reads the patches. What stands before the diff says what is planted, in its
// first line, and in a line of its own which test catches it.
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
		_, caughtBy, _ := strings.Cut(head, "\ncaught-by: ")
		caughtBy, _, _ = strings.Cut(caughtBy, "\n")
		if t.pkg, t.run, _ = strings.Cut(caughtBy, " -run "); t.what == "" || t.pkg == "" || t.run == "" {
			return nil, fmt.Errorf("%s does not begin with what is planted, and which test catches it", file)
		}
		if strings.Contains(t.run, "|") {
			return nil, fmt.Errorf("%s names several tests: one that fails would hide one that passes", file)
		}
		list[i] = t
	}
	return list, nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "teeth:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, names []string) error {
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
	tree, err := os.MkdirTemp("", "tidemark-teeth-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tree)
	if err := copyTree(ctx, root, tree); err != nil {
		return err
	}
	caught := 0
	for _, t := range all {
		begun := time.Now()
		err := t.bite(ctx, tree)
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		verdict := "caught"
		if err != nil {
			verdict = "NOT CAUGHT: " + err.Error()
		} else {
			caught++
		}
		fmt.Printf("%-30s %s (%s -run '%s', %.0f s)\n", t.name, verdict, t.pkg, t.run, time.Since(begun).Seconds())
	}
	fmt.Printf("caught %d/%d\n", caught, len(all))
	if caught < len(all) {
		return errors.New("a planted bug was not caught")
	}
	return nil
}

// copyTree copies what git knows, as it is now.
func copyTree(ctx context.Context, root, tree string) error {
	list, err := output(ctx, root, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
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

// bite plants the bug in tree, and takes it out again. Error: why it is not caught.
func (t tooth) bite(ctx context.Context, tree string) (err error) {
	if text, passes, err := t.test(ctx, tree); err != nil || !passes {
		return errors.Join(err, fmt.Errorf("the test fails without the bug:\n%s", text))
	}
	if text, err := output(ctx, tree, "git", "apply", t.patch); err != nil {
		return fmt.Errorf("the patch does not apply: %w\n%s", err, text)
	}
	defer func() {
		// Left in, this bug would be what the tests of the next ones find.
		if text, undo := output(context.WithoutCancel(ctx), tree, "git", "apply", "--reverse", t.patch); undo != nil {
			err = errors.Join(err, fmt.Errorf("the patch does not come out again: %w\n%s", undo, text))
		}
	}()
	if text, err := output(ctx, tree, "go", "vet", t.pkg); err != nil {
		return fmt.Errorf("the patched tree does not compile: %w\n%s", err, text)
	}
	switch _, passes, err := t.test(ctx, tree); {
	case err != nil:
		return err
	case passes:
		return errors.New("the test passes with the bug")
	}
	return nil
}

// test runs the named test. That no test has this name is an error.
func (t tooth) test(ctx context.Context, tree string) (text string, passes bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, testTimeout)
	defer cancel()
	text, err = output(ctx, tree, "go", "test", "-count=1", t.pkg, "-run", t.run)
	switch {
	case ctx.Err() != nil:
		return text, false, fmt.Errorf("no end within %s", testTimeout)
	case strings.Contains(text, "no tests to run"):
		return text, false, errors.New("there is no such test")
	case err != nil && !strings.Contains(text, "--- FAIL: "):
		return text, false, fmt.Errorf("it fails by itself: %w\n%s", err, text)
	}
	return text, err == nil, nil
}

func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	text, err := cmd.CombinedOutput()
	return string(text), err
}
