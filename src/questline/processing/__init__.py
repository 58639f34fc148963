"""The shell round the engine: claim, lock, load, decide, persist, acknowledge."""
