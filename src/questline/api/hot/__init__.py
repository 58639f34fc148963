"""The ingest paths on raw ASGI: what every event pays for, and no more."""
