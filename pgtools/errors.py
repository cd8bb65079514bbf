"""What pgtools says when it cannot go on: found, expected, where; the hint is the next step."""

from __future__ import annotations


class PgtoolsError(Exception):
    """A fault the user can act on: one line of message, a hint, an exit code.

    Args:
        message: what was found, what was expected, and where.
        hint: the next step, as a command or an action; may be empty, or have an address on a second line.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InputError(PgtoolsError):
    """Data that is not what it should be: a photo, a store, an array, a number out of range."""


class OutputError(PgtoolsError):
    """A result that cannot be written: it exists, the disk is full, another process holds it."""


class MissingModelError(PgtoolsError):
    """Weights that are not on this machine; the hint says where to get them and where to put them."""


class ComputeError(PgtoolsError):
    """A computation that fails through no fault of the data: too little memory, too coarse a precision."""


class StoppedError(PgtoolsError):
    """Work that was stopped because someone asked for it, not because of a fault."""


class UsageError(PgtoolsError):
    """Options that contradict each other or are out of range."""

    exit_code = 2


class GateFailedError(PgtoolsError):
    """A metric is worse than its baseline allows."""

    exit_code = 3
