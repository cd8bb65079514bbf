"""Asking a server for a file by HTTP: which addresses are followed, and which failures may pass."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
import urllib.error
import urllib.request
from typing import IO, Any

from pgtools.errors import InputError
from pgtools.models.entry import url_fault


class TransientError(Exception):
    """A fault that may be gone at the next try."""


class _Timely(io.RawIOBase):
    """A socket's bytes, all of them within its time limit until `lift` is called, and from then on each read."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        self._raw, self._sock, self._limit = raw, sock, sock.gettimeout()
        self._until = None if self._limit is None else time.monotonic() + self._limit

    def lift(self) -> None:
        """Let what follows take as long as it takes."""
        self._until = None

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read what has come, or raise TimeoutError."""
        if self._until is None:
            return self._raw.readinto(buffer)
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        try:
            return self._raw.readinto(buffer)
        finally:
            self._sock.settimeout(self._limit)

    def close(self) -> None:
        """Close the socket's file."""
        self._raw.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    """An answer whose headers must be there in time, however they drip; also a proxy's to CONNECT."""

    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self._timely = _Timely(self.fp.detach(), sock)
        self.fp = io.BufferedReader(self._timely)

    def begin(self) -> None:
        """Read the headers."""
        super().begin()
        self._timely.lift()


class _Connection(http.client.HTTPConnection):
    response_class = _Answer


class _SecureConnection(http.client.HTTPSConnection):
    response_class = _Answer


class _Http(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """Return the answer to a request."""
        return self.do_open(_Connection, req)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """Return the answer to a request, with certificates checked."""
        return self.do_open(_SecureConnection, req)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to http and https only, and never from https to http."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Return the next request, or raise InputError."""
        fp.close()  # urllib would read its body, which need not end
        downgrade = req.full_url.lower().startswith("https:") and not newurl.lower().startswith("https:")
        if downgrade or url_fault(newurl):
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
        _Http(),
        _Https(),
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
