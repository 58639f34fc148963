"""Accept: verify, normalise, deduplicate, store the event and its place in the queue."""
