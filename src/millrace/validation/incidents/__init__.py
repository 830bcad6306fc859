"""Batches that keep every rule and still cannot be the world as it is."""
