"""The control plane: projects, keys, program versions, dry runs, and what people read."""
