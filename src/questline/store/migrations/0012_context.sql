-- What the sender of an event said of the circumstances: extension attributes of a CloudEvent, Segment's `context`.

ALTER TABLE events ADD COLUMN context json;
