"""The crash harness: the real processes under load, killed, frozen and cut off at seeded moments, and the books audited.

`python -m tests.harness --help` runs it as long as one likes; docs/explanation/guarantees.md tells what it proves.
"""
