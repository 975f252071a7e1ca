package syncer

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tidemark/tidemark/models"
)

// A group gives each push what it would get alone, and leaves what they would leave
// one after another: whatever is in it, and wherever one group ends and the next
// begins.
func TestGroup_isItsPushesOneByOne(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		grouped, alone := newModelStore(), newModelStore()
		pushes := rapid.SliceOfN(drawPush(), 1, 25).Draw(r, "pushes")
		var together, single []*job
		for rest := pushes; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(r, "pushes in a group")
			grouped.now += rapid.Int64Range(0, 3).Draw(r, "time that passes")
			alone.now = grouped.now
			jobs := commitAll(r, grouped, rest[:n])
			together, rest = append(together, jobs...), rest[n:]
			for range jobs {
				single = append(single, commitAll(r, alone, pushes[len(single):len(single)+1])...)
			}
		}
		for i := range pushes {
			if diff := cmp.Diff(briefs(single[i].results), briefs(together[i].results)); diff != "" {
				r.Errorf("results of push %d, %+v (-alone +in a group):\n%s", i, pushes[i], diff)
			}
			if single[i].head != together[i].head {
				r.Errorf("push %d tells of head %d, alone of %d", i, together[i].head, single[i].head)
			}
		}
		if diff := cmp.Diff(alone.spaces, grouped.spaces, cmp.AllowUnexported(modelSpace{})); diff != "" {
			r.Errorf("what is stored (-alone +grouped):\n%s", diff)
		}
	})
}

// commitAll commits pushes as one group.
func commitAll(r *rapid.T, store *modelStore, pushes []*models.PushRequest) []*job {
	e := New(store, &deaf{}, Options{})
	jobs := make([]*job, len(pushes))
	for i, req := range pushes {
		p := &push{space: req.Collections[0], subject: "alice", clientID: req.ClientID, atomic: req.Atomic}
		for _, edit := range req.Edits {
			p.edits = append(p.edits, newEdit(edit))
		}
		jobs[i] = newJob(p, e.opts.Now())
	}
	e.commitGroup(jobs, false, func(space string, _ []*job) { r.Fatalf("%s was left out", space) })
	for i, j := range jobs {
		if j.err != nil {
			r.Fatalf("push %d: %v", i, j.err)
		}
	}
	return jobs
}

// drawPush draws a push. There are so few documents, clients and edit_ids that pushes
// meet often. The space stands in Collections.
func drawPush() *rapid.Generator[*models.PushRequest] {
	return rapid.Custom(func(r *rapid.T) *models.PushRequest {
		req := &models.PushRequest{
			ClientID:    rapid.SampledFrom([]string{"c1", "c2", "c3"}).Draw(r, "client"),
			Atomic:      rapid.Bool().Draw(r, "atomic"),
			Collections: []string{rapid.SampledFrom([]string{"a", "b"}).Draw(r, "space")},
		}
		ids := rapid.SliceOfNDistinct(rapid.IntRange(1, 12), 1, 4, rapid.ID).Draw(r, "edit_ids")
		for _, id := range ids {
			req.Edits = append(req.Edits, drawEdit(r, fmt.Sprint("e", id)))
		}
		return req
	})
}

func drawEdit(r *rapid.T, editID string) models.Edit {
	base := rapid.OneOf(
		rapid.Just(on(forced)),
		rapid.Map(rapid.Int64Range(0, 12), version),
		rapid.Map(rapid.IntRange(1, 12), func(i int) on { return after(fmt.Sprint("e", i)) }),
	).Draw(r, "base")
	id := rapid.SampledFrom([]string{"d1", "d2", "d3"}).Draw(r, "document")
	text := fmt.Sprintf(`{%q:%d}`, rapid.SampledFrom([]string{"a", "b"}).Draw(r, "field"), rapid.IntRange(1, 3).Draw(r, "value"))
	switch rapid.SampledFrom([]models.Op{models.OpPut, models.OpPatch, models.OpDelete}).Draw(r, "op") {
	case models.OpPut:
		return put(editID, id, base, text)
	case models.OpPatch:
		return patchOf(editID, id, base, text)
	default:
		return deletion(editID, id, base)
	}
}
