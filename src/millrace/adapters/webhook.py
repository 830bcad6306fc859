"""Alerts as JSON by HTTP POST."""

from __future__ import annotations

import hashlib
import hmac
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from millrace.core.errors import ProjectError, ServiceError
from millrace.core.ids import canonical_json

DEFAULT_TIMEOUT_S = 10.0
KEY_HEADER = "Idempotency-Key"
SIGNATURE_HEADER = "X-Millrace-Signature"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST becomes a GET without its body: refuse it, or the alert is lost with status 200."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Webhook:
    """A channel that posts each alert to one URL."""

    def __init__(self, url: str, *, secret: str | None, timeout_s: float) -> None:
        self._url = url
        self._secret = secret
        self._timeout_s = timeout_s
        self._opener = urllib.request.build_opener(_NoRedirect)

    def send(self, alert: Mapping[str, Any]) -> None:
        """Post the alert.

        Raises
        ------
        ServiceError
            MON-10 when the receiver cannot be reached, MON-11 when it does not answer 2xx.
        """
        body = canonical_json(dict(alert)).encode()
        headers = {"Content-Type": "application/json", KEY_HEADER: str(alert["key"])}
        if self._secret is not None:
            headers[SIGNATURE_HEADER] = sign(body, self._secret)
        request = urllib.request.Request(self._url, data=body, headers=headers, method="POST")  # noqa: S310 - checked
        place = urlsplit(self._url)
        where = f"{place.scheme}://{place.hostname}"  # the path of a webhook is often its secret
        try:
            with self._opener.open(request, timeout=self._timeout_s) as answer:
                answer.read()
        except urllib.error.HTTPError as error:
            with error:
                raise ServiceError(
                    "MON-11",
                    f"the webhook answered {error.code}",
                    where=where,
                    why="the alert stays queued and is sent again later",
                    fix="check the channel's url" if error.code in (301, 302, 303, 307, 308, 404) else None,
                ) from None
        except (OSError, HTTPException) as error:
            raise ServiceError(
                "MON-10",
                f"the webhook cannot be reached: {getattr(error, 'reason', error)}",
                where=where,
                why="the alert stays queued and is sent again later",
            ) from error


def sign(body: bytes, secret: str) -> str:
    """The signature header: HMAC-SHA256 of the body under the shared secret."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def open_webhook(settings: Mapping[str, Any]) -> Webhook:
    """The webhook channel.

    Parameters
    ----------
    settings : mapping
        ``url`` (http or https), ``secret`` (optional, signs each body), ``timeout_s`` (default 10).

    Raises
    ------
    ProjectError
        PROJ-66 when the url is missing or of another scheme.
    """
    url = str(settings.get("url") or "")
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        scheme = urlsplit(url).scheme or "none"
        raise ProjectError(
            "PROJ-66",
            "the webhook channel needs a url with http or https",
            why=f"the scheme is {scheme}" if url else "there is no url",
            fix="give the channel a url such as https://hooks.example.com/millrace",
        )
    secret = settings.get("secret")
    return Webhook(
        url,
        secret=None if secret is None else str(secret),
        timeout_s=float(settings.get("timeout_s", DEFAULT_TIMEOUT_S)),
    )
