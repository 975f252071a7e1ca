-- What all nodes must agree on and nobody configures: keys that the nodes make
-- themselves.

CREATE TABLE settings (
    name  text  COLLATE "C" NOT NULL PRIMARY KEY,
    value bytea NOT NULL
);
