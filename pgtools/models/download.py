"""One file over HTTP, into a partial file that an interrupted download goes on from.

The server is not trusted: what it announces, how much it sends, how slowly and where it redirects to have limits.
Whether the bytes are the right ones is for the caller to find out.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pgtools.errors import InputError, OutputError
from pgtools.models.web import TransientError, network_error, one_line, opener

BLOCK = 1 << 16
# No network that pgtools knows has a tenth of it; what announces no size is cut off here.
MOST_BYTES = 8_000_000_000
TRANSIENT = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Patience:
    """How long a download bears with a server.

    Attributes:
        timeout: seconds in which the headers of an answer must be there, and without a further byte, or below
            `slowest`, after which a try has failed.
        tries: how often it is tried.
        pause: seconds before the second try; doubled before each further one.
        slowest: bytes a second.
    """

    timeout: float = 30.0
    tries: int = 5
    pause: float = 1.0
    slowest: float = 100.0


@dataclass(frozen=True)
class Wanted:
    """What is to be downloaded.

    Attributes:
        url: from where.
        partial: where it is written; what stands there from the same address is continued.
        exact_bytes: its size, if known.
        verifiable: a mixture of two files would be noticed later, by its hash.
        hint: next step in the errors.
    """

    url: str
    partial: Path
    exact_bytes: int | None
    verifiable: bool
    hint: str


def download(
    wanted: Wanted,
    *,
    at: Callable[[int, int | None], None] = lambda position, total: None,
    room: Callable[[int], None] = lambda needed: None,
    patience: Patience | None = None,
) -> None:
    """Download a file to its partial file; return when all that was announced is there.

    Args:
        wanted: what, from where, to where.
        at: told the position and the size, None while it is not known.
        room: told how many bytes are about to be written, to refuse when the disk has no room.
        patience: time limits.

    Raises:
        InputError: the server cannot be reached, refuses, or sends something else than a file of the known size.
        OutputError: the partial file cannot be written.
    """
    patience = patience or Patience()
    for left in reversed(range(patience.tries)):
        try:
            _try(wanted, at, room, patience)
            return
        except TransientError as error:
            if not left:
                kept = "What has come is kept: the same command goes on from there. " if _size(wanted.partial) else ""
                raise InputError(f"{wanted.url}: {error}.", hint=kept + wanted.hint) from None
        time.sleep(patience.pause * 2 ** (patience.tries - 1 - left))


def discard(partial: Path) -> None:
    """Remove a partial file and what is remembered of it."""
    partial.unlink(missing_ok=True)
    _memory(partial).unlink(missing_ok=True)


def _try(
    wanted: Wanted, at: Callable[[int, int | None], None], room: Callable[[int], None], patience: Patience
) -> None:
    start, validator = _resumable(wanted)
    if wanted.exact_bytes is not None and start == wanted.exact_bytes:
        return
    answer = _ask(wanted, start, validator, patience)
    if answer is None:
        return
    with answer:
        start, total = _understood(answer, start, wanted)
        if total is not None:
            room(total - start)
        _write(_memory(wanted.partial), "w", json.dumps({"url": wanted.url, "validator": _validator_of(answer)}))
        if not start:
            _write(wanted.partial, "wb", b"")
        at(start, total)
        _receive(answer, wanted, start, total, patience, at)


def _resumable(wanted: Wanted) -> tuple[int, str]:
    """How many bytes of the file are here already, and what tells the server which file they are of."""
    try:
        memory = json.loads(_memory(wanted.partial).read_text("utf-8"))
        url, validator = memory["url"], str(memory["validator"])
    except (OSError, ValueError, KeyError, TypeError):
        url, validator = "", ""
    size = _size(wanted.partial)
    too_many = wanted.exact_bytes is not None and size > wanted.exact_bytes
    if url != wanted.url or too_many or not (validator or wanted.verifiable):
        discard(wanted.partial)
        return 0, ""
    return size, validator


def _ask(wanted: Wanted, start: int, validator: str, patience: Patience) -> http.client.HTTPResponse | None:
    """The server's answer to a request for what is missing; None if it says that nothing is."""
    headers = {"User-Agent": "pgtools", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if validator:
            headers["If-Range"] = validator
    request = urllib.request.Request(wanted.url, headers=headers)  # noqa: S310 (the opener knows http and https only)
    try:
        answer: http.client.HTTPResponse = opener().open(request, timeout=patience.timeout)
        return answer
    except urllib.error.HTTPError as error:
        with contextlib.closing(error):  # a redirect's is closed already
            if error.code == 416 and error.headers.get("Content-Range") == f"bytes */{start}":
                return None
            raise _refusal(error, start, wanted) from None
    except (OSError, http.client.HTTPException) as error:
        raise network_error(error, wanted.url, wanted.hint) from None


def _refusal(error: urllib.error.HTTPError, start: int, wanted: Wanted) -> Exception:
    if error.code == 416 and start:
        discard(wanted.partial)
        return TransientError("the server has fewer bytes than were here")
    text = f"the server answered {error.code} ({one_line(str(error.reason))})"
    if error.code in TRANSIENT:
        return TransientError(text)
    if 300 <= error.code < 400:
        text = "the server redirects without end" if "infinite loop" in str(error.msg) else "a redirect leads nowhere"
    return InputError(f"{wanted.url}: {text}.", hint=wanted.hint)


def _understood(answer: http.client.HTTPResponse, start: int, wanted: Wanted) -> tuple[int, int | None]:
    """Where the body of the answer begins in the file, and how large the file is; nothing is written yet."""
    encoding = answer.headers.get("Content-Encoding", "")
    if encoding.strip().lower() not in ("", "identity"):
        raise InputError(f"{wanted.url}: the server packs the file ({encoding[:40]!a}); expected it as it is.")
    if answer.headers.get_content_type() == "text/html":
        raise InputError(
            f"{wanted.url}: the server answered with a web page; expected a file.",
            hint=f"It may be the page of a login or of a proxy. {wanted.hint}",
        )
    if answer.status == 206:
        total = _resumed_total(answer, start, wanted)
    elif answer.status == 200:
        start, total = 0, answer.length
    else:
        raise InputError(f"{wanted.url}: the server answered {answer.status}; expected 200.", hint=wanted.hint)
    if total is None:
        return start, wanted.exact_bytes
    if total > MOST_BYTES or total != (wanted.exact_bytes or total):
        expected = f"{wanted.exact_bytes:,}" if wanted.exact_bytes else f"at most {MOST_BYTES:,}"
        raise InputError(f"{wanted.url}: the server announces {total:,} bytes; expected {expected}.", hint=wanted.hint)
    return start, total


def _resumed_total(answer: http.client.HTTPResponse, start: int, wanted: Wanted) -> int | None:
    found = re.fullmatch(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", answer.headers.get("Content-Range", ""))
    if not found or int(found[1]) != start:
        discard(wanted.partial)
        raise TransientError("the server sent another part than the one asked for")
    return None if found[3] == "*" else int(found[3])


def _receive(
    answer: http.client.HTTPResponse,
    wanted: Wanted,
    position: int,
    total: int | None,
    patience: Patience,
    at: Callable[[int, int | None], None],
) -> None:
    most = MOST_BYTES if total is None else total
    since, counted = time.monotonic(), 0
    with wanted.partial.open("ab") as file:
        while block := _read(answer, wanted):
            position, counted = position + len(block), counted + len(block)
            if position > most:
                break
            _append(file, block, wanted.partial)
            at(position, total)
            if time.monotonic() - since > patience.timeout:
                if counted < patience.slowest * patience.timeout:
                    raise TransientError("it sends too slowly")
                since, counted = time.monotonic(), 0
    if position > most:
        discard(wanted.partial)
        raise InputError(f"{wanted.url}: the server sends more than {most:,} bytes.", hint=wanted.hint)
    if total is not None and position < total:
        raise TransientError(f"the connection broke off after {position:,} of {total:,} bytes")


def _read(answer: http.client.HTTPResponse, wanted: Wanted) -> bytes:
    try:
        return answer.read1(BLOCK)
    except (OSError, http.client.HTTPException) as error:
        raise network_error(error, wanted.url, wanted.hint) from None


def _append(file: IO[bytes], block: bytes, path: Path) -> None:
    try:
        file.write(block)
        file.flush()
    except OSError as error:
        raise _unwritable(path, error) from None


def _write(path: Path, mode: str, content: Any) -> None:
    try:
        with path.open(mode) as file:
            file.write(content)
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{path.parent}: {error.strerror}.",
        hint="What has come is kept: free some space there, and the same command goes on.",
    )


def _validator_of(answer: http.client.HTTPResponse) -> str:
    """What names this very file at the server: a strong ETag, else its date; empty if there is neither."""
    tag: str = answer.headers.get("ETag", "")
    return tag if tag.startswith('"') else answer.headers.get("Last-Modified", "")


def _memory(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.json")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
