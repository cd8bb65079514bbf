"""How figures, names and hashes are told: on one line, short, and the same wherever pgtools was called."""

from __future__ import annotations

import re
from pathlib import PurePath

_HASH = re.compile(r"[0-9a-f]{32,}")
# So many digits of a hash tell it from any other one meets.
SHORT = 12


def number(value: float | None, sign: str = "") -> str:
    """Return a figure with four digits, "-" for none; `sign` "+" shows the sign, "±" stands before."""
    if value is None:
        return "-"
    return f"{value:+.4g}" if sign == "+" else f"{sign}{value:.4g}"


def printable(text: str) -> str:
    """Return text on one line; characters that steer a terminal, or that XML cannot hold, become U+FFFD."""
    return "".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split()))


def shown(value: object) -> str:
    """Return a setting as people read it: a hash by its first digits, all else as Python writes it."""
    if isinstance(value, str) and _HASH.fullmatch(value):
        return value[:SHORT]
    return repr(value)


def last_part(name: str) -> str:
    """Return what a path ends in; the path itself where that is nothing."""
    return PurePath(name).name or name
