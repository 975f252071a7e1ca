DROP TABLE clients;
DROP TABLE documents;
DROP TABLE spaces;
