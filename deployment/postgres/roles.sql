-- Two roles with least privilege in the database of rebalancer, which nothing else uses:
-- rebalancer_owner owns the tables and runs migrations, backups and restores; rebalancer_app, the
-- role of the API and the workers, reads and writes rows, cannot change the audit trail, and can
-- neither create, change nor drop a table. An administrator runs this with psql 15 or later, once before the first migration; it may
-- be repeated, and takes over tables that another role has created:
--   POSTGRES_OWNER_PASSWORD=... POSTGRES_APP_PASSWORD=... psql --file roles.sql DATABASE
\set ON_ERROR_STOP on
\getenv owner_password POSTGRES_OWNER_PASSWORD
\getenv app_password POSTGRES_APP_PASSWORD

SELECT format('CREATE ROLE %I', name)
FROM unnest(ARRAY['rebalancer_owner', 'rebalancer_app']) AS name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)
\gexec
ALTER ROLE rebalancer_owner LOGIN PASSWORD :'owner_password';
ALTER ROLE rebalancer_app LOGIN PASSWORD :'app_password';
-- New roles have none of these rights, and the administrators of clouds may not name them.
SELECT format('ALTER ROLE %I NOSUPERUSER NOCREATEDB NOCREATEROLE', rolname)
FROM pg_roles
WHERE rolname IN ('rebalancer_owner', 'rebalancer_app')
    AND (rolsuper OR rolcreatedb OR rolcreaterole)
\gexec
-- The administrators of clouds are no superusers: only a member of the role may give it tables.
SELECT 'GRANT rebalancer_owner TO CURRENT_USER'
FROM pg_roles
WHERE rolname = current_user AND NOT rolsuper
\gexec
-- Limits of the application behind a pooler (REBALANCER_DATABASE_POOLED=1), which passes on no
-- options of a session. Without a pooler, the application sends limits of its own.
ALTER ROLE rebalancer_app SET statement_timeout = '30s';
ALTER ROLE rebalancer_app SET lock_timeout = '5s';
ALTER ROLE rebalancer_app SET idle_in_transaction_session_timeout = '60s';
ALTER ROLE rebalancer_app SET timezone = 'UTC';

BEGIN;
REVOKE ALL ON DATABASE :"DBNAME" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"DBNAME" TO rebalancer_owner, rebalancer_app;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT CREATE, USAGE ON SCHEMA public TO rebalancer_owner;
GRANT USAGE ON SCHEMA public TO rebalancer_app;

-- The table in which alembic notes the revision, as alembic creates it.
CREATE TABLE IF NOT EXISTS public.alembic_version (
    version_num varchar(32) NOT NULL CONSTRAINT alembic_version_pkc PRIMARY KEY
);
SELECT format('ALTER TABLE %s OWNER TO rebalancer_owner', oid::regclass)
FROM pg_class
WHERE relnamespace = 'public'::regnamespace
    AND relkind IN ('r', 'p')
    AND relowner <> 'rebalancer_owner'::regrole
\gexec
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO rebalancer_app;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO rebalancer_app;
REVOKE INSERT, UPDATE, DELETE ON public.alembic_version FROM rebalancer_app;
-- The application adds to the audit trail and reads it; the migration that creates these tables
-- revokes the rest, too.
SELECT format('REVOKE UPDATE, DELETE, TRUNCATE ON %s FROM rebalancer_app', oid::regclass)
FROM pg_class
WHERE relnamespace = 'public'::regnamespace
    AND relname IN ('audit_events', 'audit_seals', 'audit_cuts')
\gexec
SELECT format('REVOKE INSERT ON %s FROM rebalancer_app', oid::regclass)
FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relname = 'audit_cuts'
\gexec

-- Tables and sequences of later migrations.
ALTER DEFAULT PRIVILEGES FOR ROLE rebalancer_owner IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO rebalancer_app;
ALTER DEFAULT PRIVILEGES FOR ROLE rebalancer_owner IN SCHEMA public
    GRANT USAGE ON SEQUENCES TO rebalancer_app;
COMMIT;
