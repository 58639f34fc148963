"""Optional speed: what may be lost at any moment without losing data. Each part is one narrow interface."""
