"""May this model go out: one kind of gate per file."""
