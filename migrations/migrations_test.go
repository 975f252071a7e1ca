package migrations_test

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"gorm.io/gorm/schema"

	"github.com/tidemark/tidemark/migrations"
	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/store"
	"github.com/tidemark/tidemark/tests/pgtest"
)

// database is one kind of database and what is asked of it in its own words.
type database struct {
	name string
	url  func(testing.TB) string // of an empty database
	// columns lists table, column, type in lower case and whether it may be null,
	// in the order in which they were made; schema_migrations is left out.
	columns string
	// keys lists table, column and place in the primary key.
	keys string
	// indexes lists the definitions of all indexes.
	indexes string
	// types are the columns' types for Go's.
	types map[string]string
}

var databases = []database{
	{
		name: "sqlite",
		url:  func(t testing.TB) string { t.Helper(); return "sqlite:" + t.TempDir() + "/tidemark.db" },
		columns: `
			SELECT m.name, c.name, lower(c.type), c."notnull" = 0
			FROM sqlite_master AS m, pragma_table_info(m.name) AS c
			WHERE m.type = 'table' AND m.name NOT IN ('schema_migrations', 'sqlite_sequence')
			ORDER BY m.name, c.cid`,
		keys: `
			SELECT m.name, c.name, c.pk
			FROM sqlite_master AS m, pragma_table_info(m.name) AS c
			WHERE m.type = 'table' AND m.name NOT IN ('schema_migrations', 'sqlite_sequence') AND c.pk > 0
			ORDER BY m.name, c.pk`,
		indexes: `
			SELECT name || ' ' || COALESCE(sql, '')
			FROM sqlite_master
			WHERE type = 'index' AND tbl_name <> 'schema_migrations'
			ORDER BY name`,
		types: map[string]string{"int64": "integer", "bool": "integer", "*int64": "integer", "string": "text", "*string": "text", "[]uint8": "blob"},
	},
	{
		name: "postgres",
		url:  pgtest.URL,
		columns: `
			SELECT table_name, column_name, data_type, is_nullable = 'YES'
			FROM information_schema.columns
			WHERE table_schema = 'public' AND table_name <> 'schema_migrations'
			ORDER BY table_name, ordinal_position`,
		keys: `
			SELECT c.conrelid::regclass::text, a.attname, array_position(c.conkey, a.attnum)
			FROM pg_constraint AS c
			JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)
			WHERE c.contype = 'p' AND c.conrelid::regclass::text <> 'schema_migrations'
			  AND c.connamespace = 'public'::regnamespace
			ORDER BY 1, 3`,
		indexes: `
			SELECT indexdef
			FROM pg_indexes
			WHERE schemaname = 'public' AND tablename <> 'schema_migrations'
			ORDER BY indexname`,
		types: map[string]string{"int64": "bigint", "bool": "boolean", "*int64": "bigint", "string": "text", "*string": "json", "[]uint8": "bytea"},
	},
}

// each runs a test on both kinds of database.
func each(t *testing.T, test func(*testing.T, database)) {
	t.Helper()
	for _, db := range databases {
		t.Run(db.name, func(t *testing.T) {
			t.Parallel()
			test(t, db)
		})
	}
}

// openMigrator opens a Migrator that ends with the test.
func openMigrator(t testing.TB, url string) *store.Migrator {
	t.Helper()
	m, err := store.OpenMigrator(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// openSQL opens the database beside the Migrator.
func openSQL(t testing.TB, url string) *sql.DB {
	t.Helper()
	db, err := store.OpenSQL(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func exec(t testing.TB, db *sql.DB, statement string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// rows returns what a query returns, each row as text.
func rows(t testing.TB, db *sql.DB, query string) (lines []string) {
	t.Helper()
	result, err := db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer result.Close()
	columns, err := result.Columns()
	if err != nil {
		t.Fatal(err)
	}
	for result.Next() {
		values, targets := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			targets[i] = &values[i]
		}
		if err := result.Scan(targets...); err != nil {
			t.Fatal(err)
		}
		line := fmt.Sprint(values...)
		lines = append(lines, line)
	}
	if err := result.Err(); err != nil {
		t.Fatal(err)
	}
	return lines
}

// shape is the schema as the database describes it.
func (d database) shape(t testing.TB, db *sql.DB) []string {
	t.Helper()
	return slices.Concat(rows(t, db, d.columns), rows(t, db, d.keys), rows(t, db, d.indexes))
}

func wantVersion(t testing.TB, m *store.Migrator, version uint, dirty bool) {
	t.Helper()
	got, gotDirty, err := m.Version()
	if err != nil || got != version || gotDirty != dirty {
		t.Errorf("version %d, dirty %t, error %v; want %d, %t", got, gotDirty, err, version, dirty)
	}
}

var fileName = regexp.MustCompile(`^([0-9]{6})_([a-z0-9_]+)\.(up|down)\.sql$`)

// files lists the migrations of a dialect and the number of the newest.
func files(t testing.TB, dialect string) (list []string, newest uint) {
	t.Helper()
	entries, err := fs.ReadDir(migrations.Files, dialect)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		parts := fileName.FindStringSubmatch(entry.Name())
		if parts == nil {
			t.Fatalf("%s is not NNNNNN_name.{up,down}.sql", path.Join(dialect, entry.Name()))
		}
		number, err := strconv.ParseUint(parts[1], 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		list, newest = append(list, entry.Name()), max(newest, uint(number))
	}
	return list, newest
}

func TestFiles_eachDialectHasItsTwin(t *testing.T) {
	t.Parallel()
	postgres, _ := files(t, "postgres")
	sqlite, _ := files(t, "sqlite")
	if diff := gocmp.Diff(postgres, sqlite); diff != "" {
		t.Errorf("the dialects differ (-postgres +sqlite):\n%s", diff)
	}
	numbers := map[string]bool{}
	for _, name := range postgres {
		numbers[fileName.FindStringSubmatch(name)[1]] = true
		twin := strings.NewReplacer(".up.sql", ".down.sql", ".down.sql", ".up.sql").Replace(name)
		if !slices.Contains(postgres, twin) {
			t.Errorf("%s has no %s", name, twin)
		}
	}
	if len(postgres) != 2*len(numbers) {
		t.Errorf("%d files for %d numbers, want up and down for each", len(postgres), len(numbers))
	}
}

func TestMigrator_upDownUp(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d database) {
		list, newest := files(t, d.name)
		all := len(list) / 2
		url := d.url(t)
		m, db := openMigrator(t, url), openSQL(t, url)
		exec(t, db, `CREATE TABLE theirs (note text)`)
		exec(t, db, `INSERT INTO theirs VALUES ('not ours')`)
		theirs := d.shape(t, db)
		wantVersion(t, m, 0, false)

		up := func() {
			t.Helper()
			if err := m.Up(t.Context()); err != nil {
				t.Fatal(err)
			}
			wantVersion(t, m, newest, false)
		}
		up()
		first := d.shape(t, db)
		kept := write(t, url)
		up() // nothing to do
		if diff := gocmp.Diff(kept, tables(t, db)); diff != "" {
			t.Errorf("data after another up (-want +got):\n%s", diff)
		}
		// Migrations after the first change what is there. Taking them back and
		// doing them again must leave the data of the first.
		if err := m.Down(t.Context(), all-1); all > 1 && err != nil {
			t.Fatal(err)
		}
		up()
		if diff := gocmp.Diff(kept, tables(t, db)); diff != "" {
			t.Errorf("data after down to the first and up (-want +got):\n%s", diff)
		}

		if err := m.Down(t.Context(), all); err != nil {
			t.Fatal(err)
		}
		wantVersion(t, m, 0, false)
		if diff := gocmp.Diff(theirs, d.shape(t, db)); diff != "" {
			t.Errorf("left after down (-want +got):\n%s", diff)
		}
		up()
		if diff := gocmp.Diff(first, d.shape(t, db)); diff != "" {
			t.Errorf("schema after up, down, up (-first +again):\n%s", diff)
		}
		if got := write(t, url); !slices.Equal(got, kept) {
			t.Errorf("data %v, want %v", got, kept)
		}
		if got := rows(t, db, `SELECT note FROM theirs`); !slices.Equal(got, []string{"not ours"}) {
			t.Errorf("somebody else's table holds %v", got)
		}
	})
}

// write puts a row into every table of the first migration, through a store, and returns what they hold.
func write(t testing.TB, url string) []string {
	t.Helper()
	s, err := store.Open(t.Context(), url, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	client := syncer.Client{Subject: "alice", ID: "c1"}
	err = s.Commit(t.Context(), syncer.Group{
		Touches: []syncer.Touch{{Space: "s1", Clients: []syncer.Client{client}}}, Wait: true,
		Decide: func(found []*syncer.Locked) []syncer.Writes {
			space, data := found[0].Space, `{"a": 1}`
			space.Head, space.Digest, space.LiveCount = 5, -1, 1
			receipts := map[syncer.Client]syncer.Receipts{client: {Newest: []byte("receipts")}}
			return []syncer.Writes{{Space: &space, Receipts: receipts, Documents: []*models.Document{{
				SpaceID: "s1", Collection: "todos", ID: "t1", Version: 5, Data: &data, Size: int64(len(data)),
				FieldVersions: `{"all":5}`, ClientID: "c1", EditID: "e1", UpdatedBy: "alice", UpdatedAt: 5,
			}}}}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return tables(t, openSQL(t, url))
}

// tables returns the rows of all tables, without the times of the test.
func tables(t testing.TB, db *sql.DB) []string {
	t.Helper()
	return slices.Concat(
		rows(t, db, `SELECT id, head, floor, epoch, past_epochs, digest, live_count FROM spaces`),
		rows(t, db, `SELECT space_id, collection, id, version, CAST(data AS text), size, field_versions, client_id, edit_id, updated_by, updated_at FROM documents`),
		rows(t, db, `SELECT space_id, subject, client_id, receipts FROM clients`),
	)
}

// column is a column as gorm sees it or as the database has it.
type column struct {
	Table, Name, Type string
	Null              bool
	Key               int // place in the primary key, 0: not in it
}

func TestModels_areTheColumns(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d database) {
		url := d.url(t)
		if err := openMigrator(t, url).Up(t.Context()); err != nil {
			t.Fatal(err)
		}
		var want []column
		for _, model := range []any{
			models.Space{},
			models.Document{},
			models.Client{},
			models.Setting{},
			models.Inbox{},
			models.InboxRejected{},
			models.APIKey{},
			models.Revocation{},
			models.AuditEntry{},
			models.Undelivered{},
		} {
			want = append(want, d.seenByGorm(t, model)...)
		}
		got := d.inDatabase(t, openSQL(t, url))
		byName := func(a, b column) int { return cmp.Or(cmp.Compare(a.Table, b.Table), cmp.Compare(a.Name, b.Name)) }
		slices.SortFunc(want, byName)
		slices.SortFunc(got, byName)
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("columns (-models +database):\n%s", diff)
		}
	})
}

// seenByGorm returns the columns that gorm expects for a model.
func (d database) seenByGorm(t testing.TB, model any) (list []column) {
	t.Helper()
	parsed, err := schema.Parse(model, &sync.Map{}, schema.NamingStrategy{})
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range parsed.Fields {
		kind, ok := d.types[field.FieldType.String()]
		if !ok {
			t.Fatalf("%s.%s: no column type is known for %s", parsed.Name, field.Name, field.FieldType)
		}
		list = append(list, column{
			Table: parsed.Table, Name: field.DBName, Type: kind,
			Null: field.FieldType.Kind() == reflect.Pointer,
			Key:  1 + slices.Index(parsed.PrimaryFieldDBNames, field.DBName),
		})
	}
	return list
}

// inDatabase returns the columns that are there.
func (d database) inDatabase(t testing.TB, db *sql.DB) (list []column) {
	t.Helper()
	read := func(query string, next func(*sql.Rows) error) {
		t.Helper()
		result, err := db.QueryContext(t.Context(), query)
		if err != nil {
			t.Fatal(err)
		}
		defer result.Close()
		for result.Next() {
			if err := next(result); err != nil {
				t.Fatal(err)
			}
		}
		if err := result.Err(); err != nil {
			t.Fatal(err)
		}
	}
	keys := map[[2]string]int{}
	read(d.keys, func(r *sql.Rows) error {
		var table, name string
		var place int
		err := r.Scan(&table, &name, &place)
		keys[[2]string{table, name}] = place
		return err
	})
	read(d.columns, func(r *sql.Rows) error {
		var c column
		err := r.Scan(&c.Table, &c.Name, &c.Type, &c.Null)
		c.Key = keys[[2]string{c.Table, c.Name}]
		list = append(list, c)
		return err
	})
	return list
}

func TestMigrator_nodesThatStartTogether(t *testing.T) {
	t.Parallel()
	_, newest := files(t, "postgres")
	url := pgtest.URL(t)
	const nodes = 4
	start := make(chan struct{})
	var group sync.WaitGroup
	for range nodes {
		group.Go(func() {
			<-start
			m, err := store.OpenMigrator(url)
			if err != nil {
				t.Errorf("open: %v", err)
				return
			}
			defer m.Close()
			if err := m.Up(t.Context()); err != nil {
				t.Errorf("up: %v", err)
			}
			wantVersion(t, m, newest, false)
		})
	}
	close(start)
	group.Wait()
	write(t, url)
}

// A migration that fails, or is ended, leaves nothing of itself, not even a mark: when
// what was in its way is gone the next attempt goes on.
func TestMigrator_failed(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d database) {
		_, newest := files(t, d.name)
		url := d.url(t)
		m, db := openMigrator(t, url), openSQL(t, url)
		exec(t, db, `CREATE TABLE documents (in_the_way text)`)
		if err := m.Up(t.Context()); err == nil {
			t.Fatal("a migration that can't be done is done")
		}
		wantVersion(t, m, 0, false)
		exec(t, db, `DROP TABLE documents`)
		if err := m.Up(t.Context()); err != nil {
			t.Fatalf("up when nothing is in the way: %v", err)
		}
		wantVersion(t, m, newest, false)
		write(t, url)

		exec(t, db, `DROP TABLE inbox_rejected`)
		if err := m.Down(t.Context(), int(newest)); err == nil {
			t.Fatal("a migration that can't be taken back is")
		}
		wantVersion(t, m, 3, false)
	})
}

// What has no transaction may fail half-way, and releases before this one had none.
func TestMigrator_halfWay(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d database) {
		_, newest := files(t, d.name)
		url := d.url(t)
		m, db := openMigrator(t, url), openSQL(t, url)
		exec(t, db, `CREATE TABLE documents (half text)`)
		exec(t, db, `INSERT INTO schema_migrations (version, dirty) VALUES (1, true)`)
		wantVersion(t, m, 1, true)

		err := m.Up(t.Context())
		if err == nil {
			t.Fatal("a dirty version is taken for a good one")
		}
		advice := regexp.MustCompile("`tidemark migrate force (-?[0-9]+)` and `tidemark migrate up`").FindStringSubmatch(err.Error())
		if advice == nil {
			t.Fatalf("%v: it does not say which commands to run", err)
		}
		// Do as it says.
		exec(t, db, `DROP TABLE documents`)
		version, err := strconv.Atoi(advice[1])
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Force(version); err != nil {
			t.Fatalf("force %d: %v", version, err)
		}
		wantVersion(t, m, 0, false)
		if err := m.Up(t.Context()); err != nil {
			t.Fatalf("up after force %d: %v", version, err)
		}
		wantVersion(t, m, newest, false)
		write(t, url)
	})
}

func TestMigrator_canceled(t *testing.T) {
	t.Parallel()
	m := openMigrator(t, pgtest.URL(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Up(ctx); err == nil {
		t.Error("a canceled migration is done")
	}
	wantVersion(t, m, 0, false)
}

func TestOpen_refusesWhatIsNoDatabase(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"", "sqlite:", "mysql://127.0.0.1/x", "tidemark.db"} {
		if m, err := store.OpenMigrator(url); err == nil {
			m.Close()
			t.Errorf("%q is opened", url)
		}
	}
}
