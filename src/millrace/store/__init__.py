"""Durable state: the ledger (SQL), blobs, leases, the outbox. Knows nothing about ML."""
