// Package logical is a broker that hears of changes from the database itself, by
// PostgreSQL's logical replication (pgoutput): it pokes for each row of spaces that
// is written and each row that is inserted into inbox, whoever wrote it and
// however. Nodes then publish no pokes. News of presence, which is in no table,
// goes through another broker.
//
// What the database needs:
//
//   - wal_level=logical, and for each node one of max_replication_slots and of
//     max_wal_senders;
//   - a user with the attribute REPLICATION;
//   - the publication tidemark. It is made if it is missing, which needs the owner
//     of the tables and CREATE on the database.
//
// The slot is a temporary one, which goes with its connection. It takes a moment
// to make: PostgreSQL first waits for the transactions that are writing anywhere in
// the server. A slot with a name stays, and nothing has to be waited for after the
// first time; but A NAMED SLOT THAT NO NODE READS KEEPS ALL WAL FROM THEN ON, until
// the disk is full: drop it when its node is gone
// (SELECT pg_drop_replication_slot('…')), and set max_slot_wal_keep_size. Each node
// needs a name of its own.
//
// Where synchronous_standby_names is *, name the standbys instead: PostgreSQL would
// count a node of Tidemark as one of them and wait for it at each commit.
package logical
