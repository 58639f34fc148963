"""Benchmarks: what Questline does on a filled database, beside the floor of the same machine. `python -m bench`."""
