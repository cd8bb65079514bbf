"""The authors' own images: the published, encrypted differences added to what the released builder makes of a photo.

A folder of deltas holds `image_list.txt`, a table with a row for each of the 30,000 images, and `deltas00000.zip`,
`deltas01000.zip`, …, a thousand deltas each. A delta is encrypted with a key made of the photo's bytes, so that only
who has the photo can use it; and it fits only the very pixels that the authors' libraries made of that photo.

Source: Karras et al. 2018, the data set's published format and the behaviour of its released builder.
"""

from __future__ import annotations

import base64
import bz2
import functools
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import __version__ as pillow_version
from PIL import features

from pgtools.celebahq.cropping.released import released_crop
from pgtools.errors import InputError
from pgtools.imaging.photo import decode
from pgtools.runtime.zips import Member, ZipArchive

if TYPE_CHECKING:  # an optional package
    from cryptography.fernet import Fernet

Pixels = NDArray[np.uint8]
# What the released builder is called as: (photo, landmarks) → uint8 (1024, 1024, 3).
ReleasedCrop = Callable[[Pixels, NDArray[np.float64]], Pixels]

IMAGE_LIST = "image_list.txt"
COLUMNS = ("idx", "orig_idx", "orig_file", "proc_md5", "final_md5")
SIDE = 1024
BYTES = 3 * SIDE * SIDE
DELTAS_A_ZIP = 1000
KEY_ROUNDS, KEY_BYTES = 100_000, 32
# Noise grows by 1 % in bzip2 and by a third in Fernet's base64.
LARGEST_DELTA = 2 * BYTES
# Every Fernet token begins so: version 0x80, and a time in seconds whose first four bytes are 0 until 2106.
TOKEN = b"gAAAAA"
THEIR_LIBRARIES = "Pillow 3.1.1 with libjpeg 8d"
MD5 = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Entry:
    """A row of the authors' list.

    Attributes:
        idx: number of the image in CelebA-HQ, from 0.
        orig_idx: number of the photo in CelebA, from 0.
        orig_file: name of the photo.
        proc_md5: MD5 of the crop without its delta, as uint8 (3, 1024, 1024).
        final_md5: MD5 of the image, likewise.
    """

    idx: int
    orig_idx: int
    orig_file: str
    proc_md5: str
    final_md5: str

    @property
    def archive(self) -> str:
        """Name of the ZIP that holds the delta."""
        return f"deltas{self.idx // DELTAS_A_ZIP * DELTAS_A_ZIP:05d}.zip"

    @property
    def member(self) -> str:
        """Name of the delta in its ZIP."""
        return f"delta{self.idx:05d}.dat"


@dataclass(frozen=True)
class Replayed:
    """What came of a photo.

    Attributes:
        image: uint8 (1024, 1024, 3): the authors' image, or the nearest to it without the delta.
        exact: whether its MD5 is the one of the authors' list.
        reason: why it is not exact, in one line; what differs from photo to photo stands in brackets at its end.
    """

    image: Pixels
    exact: bool
    reason: str | None = None


class DeltaError(InputError):
    """A delta that cannot be used; the message is the reason in `Replayed`."""


class Deltas:
    """The authors' list and their deltas; travels to workers as its list, and opens the ZIPs there.

    Args:
        folder: holds `image_list.txt` and the ZIPs.
        crop: the released builder; its MD5 decides whether a delta fits.

    Raises:
        InputError: cryptography is not installed, or the list is not there or is no such list.
    """

    def __init__(self, folder: Path, *, crop: ReleasedCrop = released_crop) -> None:
        _fernet()
        self.folder, self.crop = folder, crop
        self.entries = {entry.orig_file: entry for entry in read_image_list(folder)}
        self._open: dict[str, tuple[ZipArchive, dict[str, Member]]] = {}

    def replay(self, name: str, data: bytes, landmarks: NDArray[np.float64]) -> Replayed:
        """Return the authors' image of a photo, or the nearest and the reason.

        Args:
            name: the photo's in CelebA, as the list has it: "000001.jpg".
            data: the file's bytes.
            landmarks: float64 (5, 2), from CelebA's annotation in the wild.

        Raises:
            InputError: the photo is none of the authors', is no image, or its landmarks define no square in it.
            OSError: as `find`.
        """
        if name not in self.entries:
            raise InputError(f"The photo is none of those in the authors' list ({name}).")
        entry = self.entries[name]
        # The annotation names pixels as they are stored, before any EXIF orientation.
        processed = self.crop(decode(data, where=name, upright=False), landmarks)
        try:
            return Replayed(replay(entry, data, self.find(entry), processed), exact=True)
        except DeltaError as error:
            return Replayed(processed, exact=False, reason=error.message)

    def find(self, entry: Entry) -> bytes:
        """Return a delta as it is stored.

        Raises:
            DeltaError: there is none, or it is damaged.
            OSError: the disk or the network has a fault, which may pass.
        """
        path = self.folder / entry.archive
        if not path.is_file():
            raise DeltaError(f"no delta ({entry.archive} is not in the folder)")
        try:
            if entry.archive not in self._open:
                opened = ZipArchive(path)
                self._open[entry.archive] = opened, dict(opened.entries)
            archive, members = self._open[entry.archive]
            if entry.member in members:
                where = f"{entry.archive}:{entry.member}"
                return archive.read(members[entry.member], where=where, limit=LARGEST_DELTA)
        except InputError as error:
            if isinstance(error.__cause__, OSError):
                raise error.__cause__ from None
            raise DeltaError(f"delta is damaged ({error.message.rstrip('.')})") from None
        raise DeltaError(f"no delta ({entry.member} is not in {entry.archive})")

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_open": {}}


def replay(entry: Entry, photo: bytes, delta: bytes, processed: Pixels) -> Pixels:
    """Return the authors' image: the processed one plus the delta, modulo 256; both MD5 of the list agree.

    The photo is checked first: a delta that opens proves that it is the published file, and then pixels that differ
    are the libraries' doing.

    Args:
        entry: the image's row in the list.
        photo: bytes of the photo's file.
        delta: bytes of the delta as stored.
        processed: uint8 (1024, 1024, 3), the released builder's crop.

    Raises:
        DeltaError: the photo is not the published file, the delta is damaged, or an MD5 differs.
    """
    difference = _unpacked(entry, _decrypted(entry, photo, delta))
    planes = np.ascontiguousarray(processed.transpose(2, 0, 1))  # (H, W, 3) -> (3, H, W)
    if _md5(planes) != entry.proc_md5:
        raise DeltaError(f"processed pixels differ: {libraries()} made them, and the authors' are of {THEIR_LIBRARIES}")
    final = planes + difference
    if _md5(final) != entry.final_md5:
        raise DeltaError(f"delta gives another image than the list names ({entry.member})")
    return np.ascontiguousarray(final.transpose(1, 2, 0))


def photo_key(photo: bytes, name: str) -> bytes:
    """Return the Fernet key of a photo's delta: URL-safe base64 of PBKDF2-HMAC-SHA256, salted with the file's name."""
    key = hashlib.pbkdf2_hmac("sha256", photo, name.encode("ascii"), KEY_ROUNDS, KEY_BYTES)
    return base64.urlsafe_b64encode(key)


@functools.cache
def libraries() -> str:
    """Return this machine's Pillow and the library that decodes its JPEGs, with their versions."""
    if turbo := features.version("libjpeg_turbo"):
        return f"Pillow {pillow_version} with libjpeg-turbo {turbo}"
    return f"Pillow {pillow_version} with libjpeg {features.version('jpg') or 'of unknown version'}"


def check_deltas(folder: Path) -> list[str]:
    """Check all that can be checked before the first photo; return the ZIPs of the list that are not there.

    Raises:
        InputError: cryptography is not installed, the list cannot be read, a ZIP is damaged, or none is there.
    """
    _fernet()
    expected = sorted({entry.archive for entry in read_image_list(folder)})
    there = [name for name in expected if (folder / name).is_file()]
    if not there:
        raise InputError(f"{folder} holds none of the authors' deltas; expected {expected[0]} and on.")
    damaged = []
    for name in there:
        try:
            _ = ZipArchive(folder / name).entries
        except InputError:
            damaged.append(name)
    if damaged:
        raise InputError(
            f"{folder}: {', '.join(damaged)} cannot be read as ZIP.",
            hint="Download again, or move away what is damaged: its photos are then made without their deltas.",
        )
    return [name for name in expected if name not in there]


def read_image_list(folder: Path) -> list[Entry]:
    """Return the rows of the authors' list, in its order; columns are found by their names, others are passed over.

    Args:
        folder: holds `image_list.txt`: a line of column names, then a line an image, separated by white space.

    Raises:
        InputError: it is not there, or a line is not as it should be.
    """
    path = folder / IMAGE_LIST
    try:
        lines = [line.split() for line in path.read_text(encoding="ascii").splitlines()]
    except UnicodeDecodeError:
        raise InputError(f"{path} is no list of images; expected ASCII text.") from None
    except OSError as error:
        hint = f"Pass the folder that holds {IMAGE_LIST} and the deltas' ZIPs."
        raise InputError(f"{path} cannot be read ({error.strerror}).", hint=hint) from None
    header = lines[0] if lines else []
    if missing := [column for column in COLUMNS if column not in header]:
        raise InputError(f"{path} has no column {', '.join(missing)}; expected {', '.join(COLUMNS)} in its first line.")
    places = [header.index(column) for column in COLUMNS]
    entries = [_entry(line, places, f"{path}:{i}") for i, line in enumerate(lines[1:], start=2) if line]
    names = [entry.orig_file for entry in entries]
    if not entries or len(set(names)) != len(names):
        raise InputError(f"{path} names {len(names)} photos, {len(set(names))} different ones; expected each once.")
    return entries


def _entry(words: list[str], places: list[int], where: str) -> Entry:
    if len(words) <= max(places):
        raise InputError(f"{where} has {len(words)} words; expected {max(places) + 1} or more.")
    idx, orig_idx, orig_file, proc_md5, final_md5 = (words[place] for place in places)
    if not (idx.isdecimal() and orig_idx.isdecimal()):
        raise InputError(f"{where} has idx {idx[:20]} and orig_idx {orig_idx[:20]}; expected whole numbers.")
    if not (MD5.fullmatch(proc_md5) and MD5.fullmatch(final_md5)):
        raise InputError(f"{where} has no MD5 in its column; expected 32 digits 0-9, a-f.")
    return Entry(int(idx), int(orig_idx), orig_file, proc_md5, final_md5)


def _fernet() -> type[Fernet]:
    try:
        from cryptography.fernet import Fernet
    except ImportError:
        raise InputError(
            "The authors' deltas are encrypted, and the package cryptography is not installed.",
            hint="pip install 'pgtools[deltas]'",
        ) from None
    return Fernet


def _decrypted(entry: Entry, photo: bytes, delta: bytes) -> bytes:
    fernet = _fernet()
    if not delta.startswith(TOKEN):
        raise DeltaError(f"delta is damaged ({entry.member} is no Fernet token)")
    from cryptography.fernet import InvalidToken

    try:
        return fernet(photo_key(photo, entry.orig_file)).decrypt(delta)
    except InvalidToken:  # a damaged one says the same, but the ZIP's checksum has been there before
        raise DeltaError(f"photo is not the published file (its bytes do not open {entry.member})") from None


def _unpacked(entry: Entry, packed: bytes) -> Pixels:
    """Return uint8 (3, 1024, 1024); no more is unpacked than a delta holds, whatever the stream would become."""
    stream = bz2.BZ2Decompressor()
    try:
        data = stream.decompress(packed, BYTES + 1)
    except (OSError, ValueError, EOFError) as error:
        raise DeltaError(f"delta is damaged ({entry.member}: {error})") from None
    if len(data) != BYTES or not stream.eof:
        raise DeltaError(f"delta is damaged ({entry.member} does not unpack to {BYTES} bytes)")
    return np.frombuffer(data, np.uint8).reshape(3, SIDE, SIDE)


def _md5(planes: Pixels) -> str:
    return hashlib.md5(planes.tobytes(), usedforsecurity=False).hexdigest()
