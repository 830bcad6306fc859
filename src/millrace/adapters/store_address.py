"""The URL of an online store on the network: its options, its secret, and what an error may show of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from millrace.core.errors import ProjectError, did_you_mean

_SECRET = "env:"  # noqa: S105 - where a secret is found, not one
_HIDDEN = "***"
_WORDS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}

Option = TypeVar("Option", int, float, str)


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """A URL, taken apart.

    Parameters
    ----------
    url : str
        For the driver: secrets filled in, Millrace's own options taken out.
    where : str
        For messages: no user, no password, no options.
    options : mapping
        Millrace's own options, as they were written.
    rest : mapping
        The other options of the query, which are the driver's.
    """

    url: str = field(repr=False)
    where: str
    options: Mapping[str, str]
    rest: Mapping[str, str]
    secret: str | None = field(repr=False)

    def get(self, name: str, default: Option) -> Option:
        """An option as the kind of its default; a bool is written yes or no.

        Raises
        ------
        ProjectError
            FEAT-40 when it is of another kind, or not above zero.
        """
        text = self.options.get(name)
        if text is None:
            return default
        if isinstance(default, bool):
            if text.lower() in _WORDS:
                return _WORDS[text.lower()]
            raise self.refuse(f"the option {name} is {text!r}, not yes or no", fix=f"{name}=yes or {name}=no")
        kind = type(default)
        try:
            value = kind(text)
        except ValueError:
            raise self.refuse(
                f"the option {name} is {text!r}, not a number", fix=f"write {name}={default}, or leave it out"
            ) from None
        if not isinstance(value, str) and not value > 0:
            raise self.refuse(
                f"the option {name} is {text}, not above zero", fix=f"write {name}={default}, or leave it out"
            )
        return value

    def refuse(self, what: str, *, fix: str) -> ProjectError:
        """FEAT-40: this URL does not say what it must."""
        return ProjectError("FEAT-40", f"the URL of the online store: {what}", where=self.where, fix=fix)

    def hide(self, text: str) -> str:
        """`text` without the secret, in one line."""
        for secret in {self.secret, None if self.secret is None else quote(self.secret, safe="")}:
            if secret:
                text = text.replace(secret, _HIDDEN)
        return " ".join(text.split())


def read_address(url: str, *, options: tuple[str, ...], rest: tuple[str, ...] | None) -> StoreAddress:
    """The parts of `url`. A password ``env:NAME`` is read from that variable.

    Parameters
    ----------
    options : names of Millrace's own options
    rest : names of options that the driver takes, or None when it judges them itself

    Raises
    ------
    ProjectError
        FEAT-40 when the URL is none, names an unknown option, or a variable that is not set.
    """
    try:
        parts = urlsplit(url)
        host, port, password = parts.hostname or "", parts.port, parts.password
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
    except ValueError as error:
        raise ProjectError(
            "FEAT-40",
            "the URL of the online store is not one",
            why="it is not shown here, as it may hold a password",
            fix="scheme://user:password@host:port/name; write @, / and : of a password as %40, %2F and %3A",
        ) from error
    shown = f"[{host}]" if ":" in host else host
    where = f"{parts.scheme}://{shown}{'' if port is None else f':{port}'}{parts.path}"
    own = {name: value for name, value in query.items() if name in options}
    others = {name: value for name, value in query.items() if name not in options}
    secret = None if password is None else unquote(password)
    found = StoreAddress(url, where, own, others, secret)
    for name in others:
        if rest is not None and name not in rest:
            raise found.refuse(f"there is no option '{name}'", fix=did_you_mean(name, [*options, *rest]))
    if secret is not None and secret.startswith(_SECRET):
        secret = _from_environment(secret.removeprefix(_SECRET), found)
    netloc = parts.netloc
    if secret is not None:
        netloc = f"{quote(parts.username or '', safe='%')}:{quote(secret, safe='')}@{netloc.rpartition('@')[2]}"
    tail = f"?{urlencode(others)}" if others else ""
    clean = f"{parts.scheme}://{netloc}{parts.path}{tail}"
    return StoreAddress(clean, where, own, others, secret)


def _from_environment(name: str, address: StoreAddress) -> str:
    value = os.environ.get(name)
    if not value:
        raise address.refuse(
            f"its password is in the environment variable {name}, which is not set",
            fix=f"export {name}=... before running",
        )
    return value
