"""Who may change the store over HTTP: whoever knows the server's token."""

from __future__ import annotations

import hmac

from millrace.core.asgi import Scope
from millrace.core.errors import DataError


class Access:
    """The token of one server.

    Parameters
    ----------
    token : str
        What a request that changes something must bring; empty refuses them all.
    variable : str
        The environment variable it comes from, for the errors that say how to enable or send it.
    """

    def __init__(self, token: str, variable: str) -> None:
        self._token = token.encode()
        self._variable = variable

    def check(self, scope: Scope) -> None:
        """Return when the request may change something.

        Raises
        ------
        DataError
            FEAT-56 when the server has no token, FEAT-57 when the request does not bring it.
        """
        if not self._token:
            raise DataError(
                "FEAT-56",
                f"{scope['path']} is not enabled on this server",
                why=f"it changes the store, and the variable {self._variable} is not set",
                fix=f"set {self._variable} to a secret, start the server again, and send the header: "
                "Authorization: Bearer SECRET",
            )
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        kind, _, token = given.partition(b" ")
        # In constant time: how long a refusal takes must not tell how much of a guess was right.
        if not hmac.compare_digest(token.strip(), self._token) or kind.lower() != b"bearer":
            raise DataError(
                "FEAT-57",
                "the request brings no token, or another one than this server's",
                fix=f"send the header: Authorization: Bearer SECRET, where SECRET is the server's {self._variable}",
            )
