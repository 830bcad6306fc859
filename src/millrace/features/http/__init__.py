"""The feature server, in Feast's form."""
