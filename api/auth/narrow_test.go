package auth

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/models"
)

func TestPrincipal_collections(t *testing.T) {
	t.Parallel()
	p, err := newPrincipal("alice", map[string]string{
		"open": "rw", "shop": "rw:orders,carts,orders", "news-*": "r:posts", "news-today": "r", "*": "r:a:b",
	})
	if err != nil {
		t.Fatal(err)
	}
	ticket := NewReader("alice", map[string][]string{"open": nil, "shop": {"carts", "orders"}}, time.Time{})
	for _, test := range []struct {
		space string
		asked string
		shown string // "-": refused
	}{
		{"open", "", ""},
		{"open", "x,y", "x,y"},
		{"shop", "", "carts,orders"},
		{"shop", "orders", "orders"},
		{"shop", "orders,carts", "orders,carts"},
		{"shop", "orders,x", "-"},
		{"shop", "x", "-"},
		{"news-1", "", "posts"},
		{"news-1", "carts", "-"},
		{"news-today", "x", "x"}, // the most specific entry decides, also when it gives more
		{"other", "", "a:b"},
		{"other", "a", "-"},
	} {
		for name, who := range map[string]*Principal{"token": p, "ticket": ticket} {
			if who == ticket && test.space != "open" && test.space != "shop" {
				continue
			}
			shown, ok := who.Filter(test.space, split(test.asked))
			got := strings.Join(shown, ",")
			if !ok {
				got = "-"
			}
			if got != test.shown {
				t.Errorf("%s: %s, asked for %q: shown %q, want %q", name, test.space, test.asked, got, test.shown)
			}
		}
	}
	if diff := cmp.Diff([]string{"carts", "orders"}, p.Collections("shop")); diff != "" || p.Collections("open") != nil {
		t.Errorf("collections (-want +got):\n%s", diff)
	}
	if _, ok := ticket.Filter("other", nil); ok || ticket.Collections("other") != nil {
		t.Error("a ticket reads a space that it was not got for")
	}
	if _, ok := (&Principal{}).Filter("shop", nil); ok {
		t.Error("nobody may see something")
	}
	if p.CanWrite("news-1") || !p.CanWrite("shop") {
		t.Error("the access before the colon does not count")
	}
}

func split(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}

// names is a list of n collections.
func names(n int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprint("c", i))
	}
	return strings.Join(list, ",")
}

func TestPrincipal_collectionsRefused(t *testing.T) {
	t.Parallel()
	for access, ok := range map[string]bool{
		"rw:todos": true, "r:todos": true, "rw:" + names(models.MaxCollections): true,
		"rw:" + names(models.MaxCollections) + ",c0": true, // named twice it is one
		"rw:":                                  false, // nothing, or everything?
		"r:a,":                                 false,
		"r:,a":                                 false,
		"r:a, b":                               false,
		"rw:*":                                 false,
		"w:a":                                  false,
		":a":                                   false,
		"RW:a":                                 false,
		"rw;a":                                 false,
		"rw:" + names(models.MaxCollections+1): false,
		"rw:" + strings.Repeat("a", models.MaxNameBytes+1): false,
		"rw:a/b": false,
	} {
		if _, err := newPrincipal("alice", map[string]string{"s": access}); (err == nil) != ok {
			t.Errorf("%.40s: %v", access, err)
		}
	}
}
