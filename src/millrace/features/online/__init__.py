"""Features now: packed events by key, the stores that hold them, and what brings them there."""
