-- Keys stop to work, and what was revoked is good again until it expires.
DROP TABLE audit_log;
DROP TABLE revocations;
DROP TABLE api_keys;
