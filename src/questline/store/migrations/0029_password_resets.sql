-- The way back for who forgot their password: a token, of each person the newest alone.

-- Of end users. Using a token deletes its row, and so does a password that its user changes otherwise.
CREATE TABLE password_resets (
    project_id  integer NOT NULL,
    user_id     bigint NOT NULL,
    token_hash  bytea NOT NULL,                       -- SHA-256 of the whole token
    expires_at  timestamptz NOT NULL,
    CONSTRAINT password_resets_pk PRIMARY KEY (project_id, user_id),
    CONSTRAINT password_resets_hash_is_unique UNIQUE (token_hash),
    CONSTRAINT password_resets_hash_is_sha256 CHECK (octet_length(token_hash) = 32)
);

-- Likewise of members.
CREATE TABLE member_password_resets (
    member_id   uuid NOT NULL,
    token_hash  bytea NOT NULL,
    expires_at  timestamptz NOT NULL,
    CONSTRAINT member_password_resets_pk PRIMARY KEY (member_id),
    CONSTRAINT member_password_resets_hash_is_unique UNIQUE (token_hash),
    CONSTRAINT member_password_resets_hash_is_sha256 CHECK (octet_length(token_hash) = 32),
    CONSTRAINT member_password_resets_are_of_a_member FOREIGN KEY (member_id) REFERENCES members (id)
);

-- Logins are compared folded, and a folded address may be another mailbox: who is to be written to is what was registered.
ALTER TABLE credentials ADD COLUMN registered_as text;  -- null: before this was kept

GRANT SELECT, INSERT, UPDATE, DELETE ON password_resets, member_password_resets TO questline_service;

ALTER TABLE password_resets ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_sees_its_project ON password_resets TO questline_tenant
    USING (project_id = current_project()) WITH CHECK (project_id = current_project());
CREATE POLICY service_sees_all ON password_resets TO questline_service USING (true) WITH CHECK (true);
