"""Asking a server for a file by HTTP: which addresses are followed, and which failures may pass."""

from __future__ import annotations

import http.client
import socket
import ssl
import urllib.error
import urllib.request
from typing import IO, Any

from pgtools.errors import InputError
from pgtools.models.entry import url_fault


class TransientError(Exception):
    """A fault that may be gone at the next try."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to http and https only, and never from https to http."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Return the next request, or raise InputError."""
        downgrade = req.full_url.lower().startswith("https:") and not newurl.lower().startswith("https:")
        if downgrade or url_fault(newurl):
            fp.close()
            reason = "to unencrypted http" if downgrade else "to no address of the web"
            raise InputError(f"{req.full_url} redirects {reason}: {newurl[:200]!a}.", hint="It is not followed.")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def opener() -> urllib.request.OpenerDirector:
    """Return what opens http and https addresses, through the proxies of the environment, and nothing else.

    urllib's own would also open files, FTP and data addresses.
    """
    chosen = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),  # http_proxy, https_proxy, no_proxy
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
        _Redirects(),
    ):
        chosen.add_handler(handler)
    return chosen


def network_error(error: Exception, url: str, hint: str) -> Exception:
    """Return what to raise for a failure below HTTP: a TransientError, or an InputError for the user."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        text = f"its certificate is not trusted ({cause.verify_message})"
        return InputError(f"{url}: {text}.", hint=f"SSL_CERT_FILE names your network's own. {hint}")
    lasting = (socket.gaierror, ConnectionRefusedError, http.client.LineTooLong, http.client.InvalidURL)
    text = one_line(getattr(cause, "strerror", None) or str(cause) or type(cause).__name__)
    if isinstance(cause, TimeoutError):
        return TransientError("no answer in time")
    too_much = isinstance(cause, http.client.HTTPException) and "more than" in text
    if isinstance(cause, lasting) or too_much or isinstance(cause, str):
        return InputError(f"{url} cannot be fetched: {text}.", hint=hint)
    return TransientError(f"the connection failed ({text})")


def one_line(text: str) -> str:
    """Return what a server or the system said as a short line that a terminal shows and does not obey."""
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()[:120].rstrip(". ")
