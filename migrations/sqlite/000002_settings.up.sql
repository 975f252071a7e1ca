-- What all nodes must agree on and nobody configures: keys that the nodes make
-- themselves.

CREATE TABLE settings (
    name  text NOT NULL PRIMARY KEY,
    value blob NOT NULL
) STRICT, WITHOUT ROWID;
