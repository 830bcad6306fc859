"""Tables in a database as a backend: expressions become SQL."""
