-- Limits of requests: what an operator grants a project, and the API processes that share each limit.

ALTER TABLE projects ADD COLUMN rates jsonb;          -- limits an operator grants it; null: those of the settings

-- API processes that live: each counts requests for itself, and takes its share of every limit.
CREATE TABLE api_processes (
    process     uuid NOT NULL,
    expires_at  timestamptz NOT NULL,
    CONSTRAINT api_processes_pk PRIMARY KEY (process)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON api_processes TO questline_service;
