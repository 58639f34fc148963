"""HTTP: one file a resource; who calls is a type in each handler's signature."""
