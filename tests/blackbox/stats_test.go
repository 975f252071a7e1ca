package blackbox_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/tests/harness"
)

// TestStats_hot: the hot spaces are those of which most has changed within the last
// minute, and no others, whatever they hold.
func TestStats_hot(t *testing.T) {
	t.Parallel()
	harness.Each(t, func(t *testing.T, store harness.Store) {
		server := harness.Start(t, harness.Options{Store: store})
		client := server.Client("")
		const cold = "none: nothing has changed within the last minute"
		if out := must(t, server, "stats"); !strings.Contains(out, cold) {
			t.Errorf("of an empty database it says\n%s", out)
		}
		mustPush(t, client, "old", put("e1", "d1", 0, `{}`), put("e2", "d2", 0, `{}`), put("e3", "d3", 0, `{}`))
		const older = `
			UPDATE documents SET version = version - 120000000 WHERE space_id = 'old';
			UPDATE spaces SET head = head - 120000000 WHERE id = 'old';`
		script(t, server.DatabaseURL(), older)
		mustPush(t, client, "busy", put("e1", "d1", 0, `{}`), put("e2", "d2", 0, `{}`))
		mustPush(t, client, "calm", put("e1", "d1", 0, `{}`))

		type space struct {
			Space              string
			Documents, Changed int
		}
		var stats struct{ Hot []space }
		if err := json.Unmarshal([]byte(must(t, server, "stats", "--json")), &stats); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]space{{"busy", 2, 2}, {"calm", 1, 1}}, stats.Hot); diff != "" {
			t.Errorf("hot (-want +got):\n%s", diff)
		}
		out := must(t, server, "stats", "--top", "1")
		if !regexp.MustCompile(`(?m)^HOT +CHANGED WITHIN A MINUTE .*\nbusy +2 +2 +20\d\d-.*\n\z`).MatchString(out) {
			t.Errorf("it shows\n%s", out)
		}
		if out := must(t, server, "stats", "--top", "0", "--json"); !strings.Contains(out, `"hot": []`) {
			t.Errorf("without spaces: %s", out)
		}
		script(t, server.DatabaseURL(), strings.ReplaceAll(older, " - ", " + ")) // all is verified at the end
	})
}
