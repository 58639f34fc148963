-- name: ensure_app
-- The role of API and workers: no superuser, bound by row-level security, without a password (local socket only).
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'questline_app') THEN
        CREATE ROLE questline_app LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS
            IN ROLE questline_service, questline_tenant;
    END IF;
END $$;
