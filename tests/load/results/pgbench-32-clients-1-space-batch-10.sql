\set v :v + 1
\set id1 1000000000000000000 + (random(0, 199) * 32 + :client_id) * 249992187744132
\set id2 1000000000000000000 + (random(200, 399) * 32 + :client_id) * 249992187744132
\set id3 1000000000000000000 + (random(400, 599) * 32 + :client_id) * 249992187744132
\set id4 1000000000000000000 + (random(600, 799) * 32 + :client_id) * 249992187744132
\set id5 1000000000000000000 + (random(800, 999) * 32 + :client_id) * 249992187744132
\set id6 random(1000000000000000000, 9000000000000000000)
\set id7 random(1000000000000000000, 9000000000000000000)
\set id8 random(1000000000000000000, 9000000000000000000)
\set id9 random(1000000000000000000, 9000000000000000000)
\set id10 random(1000000000000000000, 9000000000000000000)
INSERT INTO bench_documents (space_id, collection, id, version, data, size, client_id, edit_id, updated_by, updated_at)
SELECT push.space, 'todos', row.id, push.version, push.data, 200, 'client', 'client-1', 'subject', push.version
FROM (SELECT '0' AS space, :v::bigint AS version, :data::json AS data) AS push,
     (VALUES (:id1::text), (:id2::text), (:id3::text), (:id4::text), (:id5::text), (:id6::text), (:id7::text), (:id8::text), (:id9::text), (:id10::text)) AS row (id)
ON CONFLICT (space_id, collection, id) DO UPDATE
SET version = excluded.version, data = excluded.data, size = excluded.size, client_id = excluded.client_id,
    edit_id = excluded.edit_id, updated_by = excluded.updated_by, updated_at = excluded.updated_at
