-- Signed events: their secrets, sealed, and the nonces that were burnt; and end users who log in here.

-- Secrets of signed events: two slots, so that of a project two are valid at once and no more.
CREATE TABLE signing_secrets (
    project_id  integer NOT NULL,
    slot        smallint NOT NULL,
    id          uuid NOT NULL,
    sealed      text NOT NULL,                        -- AES-256-GCM, see store/sealing.py
    prefix      text NOT NULL,                        -- the first characters, to recognise a secret by
    created_at  timestamptz NOT NULL DEFAULT now(),
    ends_at     timestamptz,                          -- NULL: the current one
    CONSTRAINT signing_secrets_pk PRIMARY KEY (project_id, slot),
    CONSTRAINT signing_secrets_id_is_unique UNIQUE (project_id, id),
    CONSTRAINT signing_secrets_are_two_at_most CHECK (slot IN (0, 1)),
    CONSTRAINT signing_secrets_belong_to_a_project FOREIGN KEY (project_id) REFERENCES projects (id)
);

-- Nonces of signed requests that were taken, until their signatures are too old anyway.
CREATE TABLE signature_nonces (
    project_id  integer NOT NULL,
    nonce_hash  bytea NOT NULL,                       -- 16 bytes
    expires_at  timestamptz NOT NULL,
    CONSTRAINT signature_nonces_pk PRIMARY KEY (project_id, nonce_hash)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);
CREATE INDEX signature_nonces_by_expiry ON signature_nonces (expires_at);

-- Passwords of end users who register here. To erase a person is to delete their row: a login is a word of theirs.
CREATE TABLE credentials (
    project_id     integer NOT NULL,
    login          text COLLATE "C" NOT NULL,         -- an email address or a name, folded
    user_id        bigint NOT NULL,
    password_hash  text NOT NULL,                     -- argon2id, with its parameters
    created_at     timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT credentials_pk PRIMARY KEY (project_id, login),
    CONSTRAINT credentials_user_is_unique UNIQUE (project_id, user_id)
);

-- One row a login. A refresh token names its session and generation; one of an earlier generation was used before, and
-- ends the session, because either its user or a thief holds a copy.
CREATE TABLE user_sessions (
    project_id  integer NOT NULL,
    id          uuid NOT NULL,                        -- random
    user_id     bigint NOT NULL,
    generation  integer NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    ended_at    timestamptz,                          -- by logging out, or by a token that was used twice
    CONSTRAINT user_sessions_pk PRIMARY KEY (project_id, id),
    CONSTRAINT user_sessions_generation_counts CHECK (generation >= 0)
) WITH (fillfactor = 80);
CREATE INDEX user_sessions_by_expiry ON user_sessions (expires_at);
CREATE INDEX user_sessions_by_user ON user_sessions (project_id, user_id);

GRANT SELECT, INSERT ON signing_secrets TO questline_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON signing_secrets TO questline_tenant;
GRANT SELECT, INSERT, DELETE ON signature_nonces TO questline_service;
GRANT UPDATE (expires_at) ON signature_nonces TO questline_service;  -- rows are locked to be swept, never changed
GRANT SELECT, INSERT, UPDATE ON credentials TO questline_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON user_sessions TO questline_service;

DO $$
DECLARE
    tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY['signing_secrets', 'signature_nonces', 'credentials', 'user_sessions'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format('CREATE POLICY tenant_sees_its_project ON %I TO questline_tenant '
                       'USING (project_id = current_project()) WITH CHECK (project_id = current_project())', tenant_table);
        EXECUTE format('CREATE POLICY service_sees_all ON %I TO questline_service USING (true) WITH CHECK (true)', tenant_table);
    END LOOP;
END $$;
