// Package archive moves spaces between databases: it writes what they hold as text, and
// puts it into another database of either kind.
//
// # The format
//
// An export is NDJSON: UTF-8, one JSON object on each line, with one member that says
// what the line is. In order:
//
//		{"tidemark":{"format":1,"source":"sqlite","version":"1.0.0","at":"2026-11-27T13:00:00Z","spaces":2,"documents":7}}
//		{"space":{"id":"home","head":1795…,"floor":0,"epoch":"4611…","past_epochs":"[]","deleted_through":0,
//		          "digest":"62727f5ce43f95b0","live_count":1,"created_at":1795…,"retention_ms":0}}
//		{"document":{"collection":"todos","id":"t1","version":1795…,"updated_at":1795…,"updated_by":"anonymous",
//		             "client_id":"laptop","edit_id":"e1","data":{"title": "Milk"}}}
//		{"document":{"collection":"todos","id":"t2","version":1795…,"deleted":true,…}}
//		{"client":{"subject":"anonymous","client_id":"laptop","receipts":"AQ…","seen_at":1795…}}
//		{"end":{"space":"home","documents":2,"clients":1}}
//		… the other spaces …
//		{"done":{"spaces":2}}
//
//	  - The first line says which format this is, and about how much is to come: it counts
//	    live documents, as of its beginning.
//	  - Spaces come by name, the documents of a space by collection and id, its clients by
//	    subject and client_id, all byte by byte. What belongs to a space is of one moment;
//	    two spaces may be of different ones.
//	  - A document's data is its text, byte for byte. Where that has line ends it stands, as
//	    a JSON string, in text instead. A tombstone has neither. field_versions, which says
//	    at which version each field changed, is left out where a put changed all.
//	  - Receipts are what a retried edit is answered from, in base64, as the database has
//	    them. past_epochs and epoch are texts because they have more digits than some
//	    readers of JSON keep. Times are milliseconds of Unix time.
//	  - end counts what came of a space, done the spaces: without them something is missing.
//
// Not in it: API keys, revocations and the audit log, which belong to the installation
// and not to the data; what waits in the inbox, or was rejected there; and the spaces of the servers' own,
// whose names begin with "_".
//
// # Why no cursor is lost
//
// A space is put in place with its head, its epoch and its past epochs, so to its clients
// the move is a backup that was put back (package syncer, "Epochs"): the database is
// another one, the first push begins a new epoch, and the old one has come up to the head
// that was exported. Who has seen no more than that goes on. Who has seen more, because
// the source went on after the export, is told to start again. Receipts come along, so an edit
// whose answer was lost is not applied twice.
//
// # Why half a space is never seen
//
// While a space is imported its row says that nothing was ever written, and a mark keeps
// servers from starting (store.StartImport). Row and mark change in the transaction that
// has found everything in its place.
package archive
