-- The role that Questline's processes log in as: a member of the two roles that migrations grant to, and nothing more.
-- Run as the owner, before or after `questline migrate`; safe to run again. The password comes from APP_PASSWORD.
\getenv app_password APP_PASSWORD
SELECT format('CREATE ROLE %I NOLOGIN', name)
FROM unnest(ARRAY['questline_service', 'questline_tenant']) AS name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec
SELECT 'CREATE ROLE app LOGIN IN ROLE questline_service, questline_tenant'
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'app') \gexec
ALTER ROLE app PASSWORD :'app_password';
