"""Versions and aliases of models: the truth is in the ledger, a tracker mirrors it."""
