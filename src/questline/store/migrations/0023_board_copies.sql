-- Copies of boards in Redis: which board periods have one, and how far each writer has changed them.
ALTER TABLE board_periods ADD COLUMN copy uuid;
ALTER TABLE board_periods ADD COLUMN copied_at timestamptz;

CREATE TABLE board_marks (
    project_id    integer NOT NULL,
    board_period  integer NOT NULL,
    shard         smallint NOT NULL,
    stamp         bigint NOT NULL,
    CONSTRAINT board_marks_pk PRIMARY KEY (project_id, board_period, shard)
) WITH (fillfactor = 50);

CREATE SEQUENCE board_stamps;

CREATE FUNCTION board_stamp() RETURNS bigint
LANGUAGE sql VOLATILE
RETURN nextval('board_stamps') * 1048576 + floor(random() * 1048576)::bigint;

CREATE FUNCTION board_place(lead bigint, reached_at timestamptz, user_id bigint) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE
RETURN int8send(lead # '-9223372036854775808'::bigint)
    || set_byte(timestamptz_send(reached_at), 0, get_byte(timestamptz_send(reached_at), 0) # 128)
    || int8send(user_id # '-9223372036854775808'::bigint);

GRANT SELECT, INSERT, UPDATE, DELETE ON board_marks TO questline_service;
GRANT SELECT ON board_marks TO questline_tenant;
GRANT USAGE ON SEQUENCE board_stamps TO questline_service;

ALTER TABLE board_marks ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_sees_its_project ON board_marks TO questline_tenant
    USING (project_id = current_project()) WITH CHECK (project_id = current_project());
CREATE POLICY service_sees_all ON board_marks TO questline_service USING (true) WITH CHECK (true);
