"""One entry of the registry of networks, and what a table of TOML must be to become one."""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pgtools.errors import InputError

SUFFIXES = (".safetensors", ".pth", ".pt")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# Windows keeps these for devices, whatever follows the first dot.
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_HASH = re.compile(r"[0-9a-f]{64}")
_PREFIX = re.compile(r"[0-9a-f]{8,63}")


@dataclass(frozen=True)
class Model:
    """One network: what it does, where its file comes from, and how the file is known to be the right one.

    Attributes:
        name: what commands and messages call it.
        task: what it does.
        file: its file name in the cache folder.
        licence: SPDX name.
        architecture: the family of networks it belongs to.
        scale: how many times larger its output is; None where that means nothing.
        url: where its publisher offers it; empty if nowhere.
        bytes: size of the published file; None if not known.
        sha256: hash of the published file, 64 hex digits; empty if not known.
        sha256_prefix: its first digits, where the publisher gives no more.
        sha256_also: hashes of other files with the same weights.
        source: page of the project.
        note: what a user must know before using it.
        embedded: the file comes with pgtools.
        own: the entry, or a part of it, is from the user's own registry.
    """

    name: str
    task: str
    file: str
    licence: str
    architecture: str = ""
    scale: int | None = None
    url: str = ""
    bytes: int | None = None
    sha256: str = ""
    sha256_prefix: str = ""
    sha256_also: tuple[str, ...] = ()
    source: str = ""
    note: str = ""
    embedded: bool = False
    own: bool = False

    @property
    def verifiable(self) -> bool:
        """Whether the registry alone can tell the right file from any other."""
        return bool(self.sha256)

    @property
    def exact_bytes(self) -> int | None:
        """The size every right file has; None if it is not known or more than one file is right."""
        return None if self.sha256_also else self.bytes

    def accepts(self, digest: str) -> bool:
        """Return whether a file with this SHA-256 can be the network, as far as the registry knows."""
        if self.sha256:
            return digest in (self.sha256, *self.sha256_also)
        return digest.startswith(self.sha256_prefix)


def parse_entry(name: str, table: Any, where: str, *, own: bool) -> Model:
    """Return the entry that a table of TOML describes.

    Args:
        name: key of the table.
        table: its fields.
        where: what messages call the file it is from.
        own: it is, at least in part, the user's own.

    Raises:
        InputError: a field is missing, unknown or not what it must be; the message names file, entry and field.
    """

    def wrong(what: str) -> InputError:
        return InputError(f"{where}, [{name}]: {what}.", hint="docs/models.md describes the fields.")

    if not _NAME.fullmatch(name):
        raise wrong("the name has other characters than letters, digits, '.', '_' and '-', or more than 64 of them")
    if not isinstance(table, dict):
        raise wrong("expected a table of fields")
    fields = {field.name: field for field in dataclasses.fields(Model) if field.name not in ("name", "own")}
    for key, value in table.items():
        if key not in fields:
            raise wrong(f"no field is called {key!r}; there are {', '.join(fields)}")
        fault = _fault(key, value)
        if fault:
            raise wrong(f"{key} is {value!r}; expected {fault}")
    for key in ("task", "file", "licence"):
        if not table.get(key):
            raise wrong(f"{key} is missing")
    if table.get("sha256") and table.get("sha256_prefix"):
        raise wrong("it has both sha256 and sha256_prefix; expected one of them")
    if table.get("sha256_also") and not table.get("sha256"):
        raise wrong("it has sha256_also without sha256")
    return Model(name=name, own=own, **{**table, "sha256_also": tuple(table.get("sha256_also", ()))})


def _fault(key: str, value: Any) -> str:
    """What the value should have been; empty if it is right."""
    if key == "embedded":
        return "" if isinstance(value, bool) else "true or false"
    if key in ("bytes", "scale"):
        return "" if type(value) is int and value > 0 else "a whole number above 0"
    if key == "sha256_also":
        whole = isinstance(value, list) and all(isinstance(one, str) and _HASH.fullmatch(one) for one in value)
        return "" if whole else "a list of hashes of 64 hex digits, in lower case"
    if not isinstance(value, str):
        return "a text"
    if any(unicodedata.category(letter)[0] == "C" for letter in value):
        return "a text of one line"
    check = {"sha256": _hash_fault, "sha256_prefix": _prefix_fault, "file": _file_fault, "url": url_fault}.get(key)
    check = url_fault if key == "source" else check
    return check(value) if check and value else ""


def _hash_fault(value: str) -> str:
    return "" if _HASH.fullmatch(value) else "64 hex digits, in lower case (a published beginning is a sha256_prefix)"


def _prefix_fault(value: str) -> str:
    return "" if _PREFIX.fullmatch(value) else "8 to 63 hex digits, in lower case"


def _file_fault(value: str) -> str:
    plain = not re.search(r'[/\\:*?"<>|]', value) and value[0] not in ".-" and value[-1] != " " and len(value) <= 150
    if not plain or _DEVICE.fullmatch(value):
        return "a file name, without a folder"
    return "" if value.endswith(SUFFIXES) else f"a name that ends in {', '.join(SUFFIXES)}"


def url_fault(value: str) -> str:
    """Return what an address should have been; empty if it can be fetched from."""
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        return "an address like https://HOST/FILE"
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"\s|[^ -~]", value):
        return "an address like https://HOST/FILE"
    return "an address without a user or password" if "@" in parts.netloc else ""
