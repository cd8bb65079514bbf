"""Pickles of other people, read without running anything from the file.

A pickle is a program. The reader here knows a closed list of names and answers each with a stand-in that only keeps
what it is given; any other name refuses the file.
"""

from __future__ import annotations

import math
import os
import pickle
import pickletools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from pgtools.errors import InputError

SMALL_READ = 4096


def read_pickle(path: Path, *, what: str, known: Mapping[str, type] | None = None) -> Any:
    """Return the numbers, texts, containers and arrays that a pickle holds; byte strings of Python 2 become text.

    An array comes as a `SavedArray`, or as an array; `array_of` makes both an array.

    Args:
        path: the file.
        what: names in errors what it should be, e.g. "CIFAR batch".
        known: "module.name" → a class of ours with a `__setstate__` that only keeps what it is given.

    Raises:
        InputError: the file cannot be read, is no pickle, announces more than it has, or asks for any other name.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            _check_sizes(file, size)
            file.seek(0)
            return ClosedUnpickler(file, size, known or {}).load()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from None
    except Exception as error:  # a damaged or hostile pickle can raise anything; none of it may pass
        raise InputError(
            f"{path} is no {what} ({error}).", hint="It was refused before anything in it could run."
        ) from None


def array_of(value: Any) -> NDArray[Any]:
    """Return an unpickled array, number or flat list of numbers as an array.

    Raises:
        ValueError: it is none of them.
    """
    if isinstance(value, SavedArray):
        return value.values()
    # A list may hold one list many times, and that one another: a short file, and an array without end.
    if not isinstance(value, (np.ndarray, int, float)) and not _is_flat(value):
        raise ValueError(f"{type(value).__name__} in the place of an array")
    return np.asarray(value)


def _is_flat(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, (int, float)) for one in value)


class ClosedUnpickler(pickle.Unpickler):
    """Builds numbers, texts, containers, arrays and `known` classes, and refuses every other name.

    Args:
        file: the pickle, at its start.
        size: bytes of the file; no more are spent on copies of its texts.
        known: "module.name" → a class of ours.
    """

    def __init__(self, file: BinaryIO, size: int, known: Mapping[str, type]) -> None:
        super().__init__(file, encoding="latin1")
        self._left = size
        self._known: dict[str, Any] = {
            "numpy.dtype": _Kind,
            "numpy.ndarray": SavedArray,
            "numpy.core.multiarray._reconstruct": _Call(lambda *_: SavedArray()),
            "numpy.core.multiarray.scalar": _Call(_scalar),
            "numpy.core.numeric._frombuffer": _Call(_array),
            "_codecs.encode": _Call(self._encode),
            **known,
        }

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in for a name, or refuse it."""
        # numpy 2 renamed its inner module.
        wanted = f"{module}.{name}".replace("numpy._core.", "numpy.core.")
        if wanted not in self._known:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return self._known[wanted]

    def _encode(self, text: str, codec: str) -> bytes:
        # Python 2 and protocol 2 write bytes so; other codecs are programs of their own.
        if codec not in ("latin1", "latin-1"):
            raise pickle.UnpicklingError(f"it asks for the codec {codec}")
        self._left -= len(text)  # a text that is encoded again and again would fill the memory
        if self._left < 0:
            raise pickle.UnpicklingError("it holds more bytes than its file")
        return text.encode("latin1")


class SavedArray:
    """Stands in for numpy.ndarray; the numbers come with the state (version, shape, type, Fortran order, bytes)."""

    _state: tuple[Any, Any, Any, str] | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, data = state
        _check_array(data, kind, shape)
        self._state = data, kind, shape, "F" if fortran else "C"

    def values(self) -> NDArray[Any]:
        """Return the array.

        Raises:
            ValueError: the file gave it no state.
        """
        if self._state is None:
            raise ValueError("an array without its bytes")
        data, *others = self._state
        # Python 2 has no other bytes than texts. They become bytes here and not while the file is read, where the same
        # text could be copied again and again.
        return _array(data.encode("latin1") if isinstance(data, str) else data, *others)


class _Kind:
    """Stands in for numpy.dtype: its code (f4, i8, …) and byte order."""

    def __init__(self, code: Any, *_: Any) -> None:
        self.code, self.order = str(code), "="

    def __setstate__(self, state: Any) -> None:
        self.order = str(state[1])

    def dtype(self) -> np.dtype[Any]:
        """The numpy type: numbers only, never objects."""
        if not re.fullmatch(r"[fiub][1248]", self.code) or self.order not in tuple("<>=|"):
            raise pickle.UnpicklingError(f"an array of type {self.code}")
        return np.dtype(self.code).newbyteorder(self.order)  # type: ignore[arg-type]


class _Call:
    """A function that a file may call and not alter: a bare function or method has a `__dict__` that it could set."""

    __slots__ = ("__function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self.__function = function

    def __call__(self, *arguments: Any) -> Any:
        return self.__function(*arguments)

    def __setstate__(self, _: Any) -> None:
        raise pickle.UnpicklingError("it sets the state of a function")


class _Bounded:
    """The rest of a file, for a reader that reserves what it asks for: it never asks for more than there is."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size
        self.readline = file.readline

    def read(self, count: int) -> bytes:
        """Return `count` bytes, or as many as there are."""
        if count > SMALL_READ:  # to ask where the file stands takes longer than most reads
            count = min(count, self._size - self._file.tell())
        return self._file.read(count)


def _check_sizes(file: BinaryIO, size: int) -> None:
    """Go through the pickle's steps without doing them.

    The interpreter's own reader reserves what a text or a frame announces, and a list as long as the largest number of
    its memory.
    """
    for steps, (step, argument, _) in enumerate(pickletools.genops(_Bounded(file, size))):  # type: ignore[arg-type]
        if step.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(str(argument)) > steps + 1:
            raise pickle.UnpicklingError(f"it remembers an object as number {argument} after {steps} steps")
        if step.name == "FRAME" and int(str(argument)) > size:
            raise pickle.UnpicklingError(f"it announces {argument} bytes; the file has {size}")


def _check_array(data: Any, kind: Any, shape: Any) -> None:
    if not isinstance(data, (bytes, bytearray, str)) or not isinstance(kind, _Kind):
        raise pickle.UnpicklingError("an array without its bytes")
    if len(data) != kind.dtype().itemsize * math.prod(shape):
        raise pickle.UnpicklingError(f"an array of shape {shape} with {len(data)} bytes")


def _array(data: Any, kind: Any, shape: Any, order: str) -> NDArray[Any]:
    _check_array(data, kind, shape)
    return np.frombuffer(data, kind.dtype()).reshape(shape, order="F" if order == "F" else "C")


def _scalar(kind: Any, data: Any) -> Any:
    _check_array(data, kind, ())
    return _array(data.encode("latin1") if isinstance(data, str) else data, kind, (), "C").item()
