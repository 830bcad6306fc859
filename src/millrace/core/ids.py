"""Digests and identifiers."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from datetime import datetime
from typing import Any


def canonical_json(value: Any) -> str:
    """JSON text that is the same for equal values: sorted keys, no spaces, no NaN.

    Raises
    ------
    ValueError
        If the value holds NaN or an infinity, which JSON cannot say.
    TypeError
        If the value holds something that is not JSON.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest_bytes(data: bytes | memoryview) -> str:
    """SHA-256 of `data`, 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def digest_json(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value`."""
    return digest_bytes(canonical_json(value).encode())


def digest_parts(parts: Iterable[str]) -> str:
    """SHA-256 over parts, each length-prefixed, so that no two lists share a text."""
    seal = hashlib.sha256()
    for part in parts:
        data = part.encode()
        seal.update(f"{len(data)}:".encode())
        seal.update(data)
    return seal.hexdigest()


def new_id(prefix: str, now: datetime) -> str:
    """An identifier that sorts by time: ``run-20240501T120000-1f3a9c``."""
    return f"{prefix}-{now:%Y%m%dT%H%M%S}-{os.urandom(3).hex()}"
