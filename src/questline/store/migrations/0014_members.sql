-- Members of organizations, keys with scopes and an end, and the log of every administrative act.

ALTER TABLE organizations ADD COLUMN archived_at timestamptz;
ALTER TABLE organizations ADD CONSTRAINT organizations_slug_is_a_slug CHECK (slug ~ '^[a-z0-9][a-z0-9_.-]{0,62}$');
ALTER TABLE projects ADD COLUMN archived_at timestamptz;
ALTER TABLE api_keys ADD COLUMN scopes text[];
ALTER TABLE api_keys ADD COLUMN expires_at timestamptz;
ALTER TABLE api_keys ADD COLUMN replaced_by uuid;
CREATE INDEX projects_by_organization ON projects (organization_id);

-- People who use the console. Nobody but they know their password; a member without a membership may do nothing.
CREATE TABLE members (
    id             uuid NOT NULL,
    email          text NOT NULL,                     -- in lower case
    name           text NOT NULL,
    password_hash  text NOT NULL,                     -- argon2id, with its parameters
    created_at     timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT members_pk PRIMARY KEY (id),
    CONSTRAINT members_email_is_unique UNIQUE (email),
    CONSTRAINT members_email_is_in_lower_case CHECK (email = lower(email))
);

-- What a member may do in an organization and all its projects. An organization that ever had an owner keeps one.
CREATE TABLE memberships (
    organization_id  integer NOT NULL,
    member_id        uuid NOT NULL,
    role             text NOT NULL,                   -- owner | admin | analyst
    since            timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT memberships_pk PRIMARY KEY (organization_id, member_id),
    CONSTRAINT memberships_role_is_known CHECK (role IN ('owner', 'admin', 'analyst')),
    CONSTRAINT memberships_are_of_an_organization FOREIGN KEY (organization_id) REFERENCES organizations (id),
    CONSTRAINT memberships_are_of_a_member FOREIGN KEY (member_id) REFERENCES members (id)
);
CREATE INDEX memberships_by_member ON memberships (member_id);

CREATE TABLE member_sessions (
    token_hash  bytea NOT NULL,                       -- SHA-256 of the whole token
    member_id   uuid NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL,
    CONSTRAINT member_sessions_pk PRIMARY KEY (token_hash),
    CONSTRAINT member_sessions_hash_is_sha256 CHECK (octet_length(token_hash) = 32),
    CONSTRAINT member_sessions_are_of_a_member FOREIGN KEY (member_id) REFERENCES members (id)
);
CREATE INDEX member_sessions_by_member ON member_sessions (member_id);
CREATE INDEX member_sessions_by_end ON member_sessions (expires_at);

-- One row an invitation: it is accepted once, by whoever has its token, or revoked, or it ends.
CREATE TABLE invitations (
    id               uuid NOT NULL,
    organization_id  integer NOT NULL,
    email            text NOT NULL,                   -- in lower case
    role             text NOT NULL,
    token_hash       bytea NOT NULL,                  -- SHA-256 of the whole token
    invited_by       text NOT NULL,                   -- operator, or member:ID
    created_at       timestamptz NOT NULL DEFAULT now(),
    expires_at       timestamptz NOT NULL,
    accepted_at      timestamptz,
    revoked_at       timestamptz,
    CONSTRAINT invitations_pk PRIMARY KEY (id),
    CONSTRAINT invitations_hash_is_unique UNIQUE (token_hash),
    CONSTRAINT invitations_hash_is_sha256 CHECK (octet_length(token_hash) = 32),
    CONSTRAINT invitations_role_is_known CHECK (role IN ('owner', 'admin', 'analyst')),
    CONSTRAINT invitations_end_once CHECK (accepted_at IS NULL OR revoked_at IS NULL),
    CONSTRAINT invitations_are_of_an_organization FOREIGN KEY (organization_id) REFERENCES organizations (id)
);
CREATE INDEX invitations_by_organization ON invitations (organization_id, id);

-- Every administrative act, written in the transaction of what it did. Append-only. It holds no secret and no word of an
-- end user: an act on a user names the event that did it, and the event names the user.
CREATE TABLE audit_log (
    project_id       integer,                         -- NULL: an act on the organization itself
    organization_id  integer NOT NULL,
    id               uuid NOT NULL,                   -- UUIDv7: a range of ids is a range of times
    at               timestamptz NOT NULL DEFAULT now(),
    actor            text COLLATE "C" NOT NULL,       -- key:ID, member:ID or operator
    action           text COLLATE "C" NOT NULL,       -- key.create, program.edit, user.block ...
    target_kind      text COLLATE "C" NOT NULL,
    target           text NOT NULL,                   -- '' for a user: the event names them
    before           json,
    after            json,
    event_id         uuid,                            -- of an act that is a command
    correlation_id   text NOT NULL,
    address          text NOT NULL,                   -- where the request came from
    CONSTRAINT audit_log_pk PRIMARY KEY (id),
    CONSTRAINT audit_log_is_of_an_organization FOREIGN KEY (organization_id) REFERENCES organizations (id),
    CONSTRAINT audit_log_is_of_a_project FOREIGN KEY (project_id) REFERENCES projects (id)
);
CREATE INDEX audit_log_by_project ON audit_log (project_id, id);
CREATE INDEX audit_log_by_organization ON audit_log (organization_id, id);

CREATE TRIGGER audit_log_is_append_only BEFORE UPDATE OR DELETE ON audit_log
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- Whoever keeps an answer to "who may do what" in memory hears, at commit, that it may be wrong now.
CREATE FUNCTION announce_access() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('questline_access', TG_ARGV[0] || ' ' || (to_jsonb(OLD) ->> TG_ARGV[1]));
    RETURN NULL;
END $$;

CREATE TRIGGER api_keys_announce_changes AFTER UPDATE OF revoked_at, expires_at, role, scopes ON api_keys
    FOR EACH ROW EXECUTE FUNCTION announce_access('key', 'id');
CREATE TRIGGER projects_announce_changes AFTER UPDATE ON projects
    FOR EACH ROW WHEN (OLD.program_version = NEW.program_version) EXECUTE FUNCTION announce_access('project', 'id');
CREATE TRIGGER organizations_announce_changes AFTER UPDATE OF archived_at ON organizations
    FOR EACH ROW EXECUTE FUNCTION announce_access('organization', 'id');
CREATE TRIGGER memberships_announce_changes AFTER UPDATE OR DELETE ON memberships
    FOR EACH ROW EXECUTE FUNCTION announce_access('member', 'member_id');
CREATE TRIGGER member_sessions_announce_ends AFTER DELETE ON member_sessions
    FOR EACH ROW EXECUTE FUNCTION announce_access('member', 'member_id');

GRANT SELECT, INSERT, UPDATE ON members, invitations TO questline_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON memberships, member_sessions TO questline_service;
GRANT SELECT, INSERT ON audit_log TO questline_service;
GRANT SELECT, INSERT ON audit_log TO questline_tenant;

ALTER TABLE audit_log ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_sees_its_project ON audit_log TO questline_tenant
    USING (project_id = current_project()) WITH CHECK (project_id = current_project());
CREATE POLICY service_sees_all ON audit_log TO questline_service USING (true) WITH CHECK (true);
