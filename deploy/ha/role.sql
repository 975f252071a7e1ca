-- What a node sets for each of its connections, for the role: behind pgbouncer in
-- transaction mode, which can't pass it on. Run it as a superuser, once.
ALTER ROLE tidemark SET statement_timeout = '5s';
ALTER ROLE tidemark SET lock_timeout = '2s';
ALTER ROLE tidemark SET idle_in_transaction_session_timeout = '3s';
ALTER ROLE tidemark SET plan_cache_mode = 'force_generic_plan';
