-- Visitors: what a page says of them apart from what a server says, and how events that wait for their names were sent.
ALTER TABLE anonymous_links ALTER COLUMN external_user DROP NOT NULL;
ALTER TABLE anonymous_links ADD COLUMN claimed_user text COLLATE "C";
ALTER TABLE anonymous_links ADD CONSTRAINT anonymous_links_name_somebody CHECK (num_nonnulls(external_user, claimed_user) > 0);
ALTER TABLE anonymous_events ADD COLUMN sent_with text COLLATE "C" DEFAULT 'unknown';

GRANT UPDATE ON anonymous_links TO questline_service;
