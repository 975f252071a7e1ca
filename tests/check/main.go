// Command check judges a history again that a test has kept: with the code that the
// test used, so that a verdict can be looked into, or a mended judge tried.
//
//	go run ./tests/check /tmp/tidemark-history-…/converge-postgres-1.jsonl
package main

import (
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/tidemark/tidemark/tests/converge"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: go run ./tests/check FILE…")
		os.Exit(2)
	}
	bad := 0
	for _, file := range os.Args[1:] {
		verdict, err := converge.Judge(file)
		if err != nil {
			fmt.Fprintf(os.Stderr, "check: %s: %v\n", file, err)
			os.Exit(2)
		}
		report(file, verdict)
		bad += verdict.Bad()
	}
	if bad > 0 {
		os.Exit(1)
	}
}

func report(file string, v *converge.Verdict) {
	fmt.Printf("%s: %d lost, %d doubled, %d diverged, %d stuck, %d gaps, %d server errors\n",
		file, v.Lost, v.Doubled, v.Diverged, v.Stuck, v.Gaps, v.ServerErrors)
	for _, finding := range v.Findings {
		fmt.Println("  ", finding)
	}
	if more := v.Bad() - len(v.Findings); more > 0 {
		fmt.Printf("   and %d more\n", more)
	}
	fmt.Print("met:")
	for _, what := range slices.Sorted(maps.Keys(v.Met)) {
		fmt.Printf(" %s %d,", what, v.Met[what])
	}
	fmt.Println()
}
