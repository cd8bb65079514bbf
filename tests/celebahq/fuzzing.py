"""Damaged photos through a worker, in a process of its own: `python -m tests.celebahq.fuzzing KIND FOLDER COUNT SEED`.

As in tests/stores/fuzzing.py: a crash ends the process, a hang is cut off by an alarm, memory has a bound, and each
line on stdout is one JSON object, so that the last one tells what ended it. KIND is photos or zips.
"""

from __future__ import annotations

import io
import json
import os
import resource
import signal
import struct
import sys
import warnings
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, features

from pgtools.celebahq.input.annotations import read_annotations, read_landmarks
from pgtools.celebahq.input.photos import StoredFile, find_photos
from pgtools.celebahq.manifest import Outcome
from pgtools.celebahq.process import Steps
from pgtools.celebahq.worker import Task, Worker
from pgtools.errors import PgtoolsError
from pgtools.imaging.photo import SUFFIXES
from tests.pictures import photo_like
from tests.stores.fuzzing import damaged

# A picture of 179 million pixels is allowed: unpacked and converted it takes up to this, and some seconds.
SECONDS_A_FILE = 60
BOUND_BYTES = 3 << 29
POINTS = np.array([[38, 32], [60, 33], [50, 44], [41, 54], [58, 55]], dtype=np.float64)
FORMATS = {
    "jpeg": ("JPEG", {"quality": 85}),
    "progressive": ("JPEG", {"quality": 85, "progressive": True}),
    "png": ("PNG", {}),
    "webp": ("WEBP", {}),
    "lossless": ("WEBP", {"lossless": True}),
    "bmp": ("BMP", {}),
    "tiff": ("TIFF", {}),
    "lzw": ("TIFF", {"compression": "tiff_lzw"}),
    "jpeg in tiff": ("TIFF", {"compression": "jpeg"}),
    "ppm": ("PPM", {}),
    **({"avif": ("AVIF", {"speed": 10})} if features.check("avif") else {}),
}
MODES = {
    "jpeg": ("RGB", "L", "CMYK"),
    "png": ("RGB", "L", "RGBA", "LA", "P", "1", "I;16"),
    "tiff": ("RGB", "CMYK", "F"),
}


def outcome_of(file: StoredFile, points: np.ndarray | None, crops: Path) -> Outcome:
    """Return what a build's worker makes of a photo."""
    ((_, outcome),) = Worker(Steps(resolution=32), crops)([Task("x", file, points)])
    return outcome


def originals() -> dict[str, bytes]:
    """Return whole photos: every format, the modes it has, with EXIF or without."""
    image = Image.fromarray(photo_like(80, 96))
    exif = Image.Exif()
    exif[0x0112] = 6
    found = {}
    for name, (format, options) in FORMATS.items():
        for mode in MODES.get(name, ("RGB",)):
            buffer = io.BytesIO()
            more = {"exif": exif} if format not in ("BMP", "PPM") and mode == "RGB" else {}
            source = image.convert("L") if mode in ("I;16", "F") else image
            source.convert(mode).save(buffer, format, **options, **more)
            found[f"{name} {mode}"] = buffer.getvalue()
    return found


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of_zeros(width: int, height: int, depth: int, colour: int, *, whole: bool) -> bytes:
    """Return a PNG that unpacks to zeros: all that its header announces, or a row of it."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    packer, row = zlib.compressobj(9), bytes((width * depth * channels + 7) // 8 + 1)
    body = b"".join(packer.compress(row) for _ in range(height if whole else 1)) + packer.flush()
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    palette = chunk(b"PLTE", bytes(6)) if colour == 3 else b""
    return b"\x89PNG\r\n\x1a\n" + head + palette + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def bombs() -> list[Callable[[], bytes]]:
    """Return what makes small files that would be large: pictures of zeros, and text that unpacks to gigabytes."""
    text = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0))
    return [
        lambda: png_of_zeros(9_000, 6_000, 8, 2, whole=True),
        lambda: png_of_zeros(13_000, 13_000, 8, 0, whole=True),
        lambda: png_of_zeros(13_000, 13_000, 16, 6, whole=False),
        lambda: png_of_zeros(60_000, 60_000, 1, 0, whole=True),
        lambda: png_of_zeros(2_000_000_000, 1, 1, 3, whole=False),
        lambda: png_of_zeros(178_956_970, 1, 8, 2, whole=False),
        lambda: png_of_zeros(65_535, 2_730, 8, 2, whole=True),
        lambda: text + chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 28))) + chunk(b"IEND", b""),
        lambda: text + chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(1 << 28))) + chunk(b"IEND", b""),
    ]


def announcing(data: bytes, side: int) -> bytes:
    """Return a photo whose header says that it is side × side; the few numbers that are its size become others."""
    changed = data
    for width, height in ((96, 80), (95, 79)):  # WebP's extended header has one less
        for form in (">HH", "<HH", ">II", "<II"):
            for one, two in ((width, height), (height, width)):
                try:
                    new = struct.pack(form, side, side)
                except struct.error:
                    continue
                changed = changed.replace(struct.pack(form, one, two), new)
    changed = changed.replace(b"96 80", b"%d %d" % (side, side))
    for tag in (256, 257):  # TIFF
        for kind in (3, 4):
            for form in ("<HHIH", "<HHII"):
                old = [struct.pack(form, tag, kind, 1, value) for value in (96, 80)]
                if kind == 4 or side < 1 << 16:
                    for entry in old:
                        changed = changed.replace(entry, struct.pack(form, tag, kind, 1, side & 0xFFFF))
    if changed[:4] == b"\x89PNG":
        changed = changed[:29] + struct.pack(">I", zlib.crc32(changed[12:29])) + changed[33:]
    return changed


def hostile(number: int, whole: list[bytes], rng: np.random.Generator) -> tuple[str, bytes]:
    """Return the name of an attack and the bytes of its photo."""
    data = whole[int(rng.integers(len(whole)))]
    kind = number % 10
    if kind == 0:
        return "cut short", data[: int(rng.integers(len(data)))]
    if kind == 1:
        place = int(rng.integers(len(data)))
        return "a bit", data[:place] + bytes([data[place] ^ 1 << int(rng.integers(8))]) + data[place + 1 :]
    if kind == 2:
        return "random bytes", data[: int(rng.choice([0, 4, 16, 64]))] + rng.bytes(int(rng.integers(2000)))
    if kind == 3:
        side = int(rng.choice([0, 1, 60_000, 65_535, 16_383, 30_000, 1 << 31, 10_000]))
        return f"announces {side}", announcing(data, side)
    if kind == 4 and number % 200 == 4:
        return "a bomb", bombs()[number // 200 % len(bombs())]()
    if kind == 4:
        return "two in one", data + whole[int(rng.integers(len(whole)))]
    return "damage", damaged(data, rng)


def told(number: int, what: str, work: Callable[[], str]) -> None:
    """Do a case between two lines on stdout, with an alarm."""
    print(json.dumps({"number": number, "what": what, "begun": True}), flush=True)
    signal.alarm(SECONDS_A_FILE)
    outcome = work()
    signal.alarm(0)
    print(json.dumps({"number": number, "what": what, "outcome": outcome}), flush=True)


def became(outcome: Outcome) -> str:
    """Return "scored" or "refused", or what should not have come out."""
    if outcome.get("passing") or "\n" in outcome.get("reason", ""):
        return str(outcome)
    if "reason" in outcome:
        return "refused"
    return "scored" if all("reason" in face or 0 <= face["score"] <= 1 for face in outcome["faces"]) else str(outcome)


def photo_case(path: Path, points: np.ndarray | None, crops: Path) -> str:
    """Return what became of one photo."""
    return became(outcome_of(StoredFile(path), points, crops))


def photos(folder: Path, numbers: range, seed: int) -> None:
    """Put damaged photos through the worker, under the names of any kind."""
    whole, suffixes = list(originals().values()), sorted(SUFFIXES)
    crops = folder / "crops"
    crops.mkdir(exist_ok=True)
    for number in numbers:
        rng = np.random.default_rng([seed, number])
        what, data = hostile(number, whole, rng)
        path = folder / f"x{rng.choice(suffixes)}"
        path.write_bytes(data)
        points = POINTS if number % 3 else None
        told(number, what, partial(photo_case, path, points, crops))
        path.unlink()


def use(path: Path) -> str:
    """Find, list and read a ZIP of CelebA, as a build does."""
    try:
        found = find_photos(path)
        read_annotations(found)
        if found.annotation is not None:
            read_landmarks(found.annotation)
    except PgtoolsError as error:
        return "refused" if "\n" not in error.message else f"two lines: {error.message!r}"
    for file in found.files.values():
        file.state()
        try:
            file.read()
        except PgtoolsError as error:
            if "\n" in error.message:
                return f"two lines: {error.message!r}"
    return "read"


def zips(folder: Path, numbers: range, seed: int) -> None:
    """Damage a ZIP of CelebA."""
    jpeg, table = originals()["jpeg RGB"], f"1\nx\n000001.jpg {' '.join(['7'] * 10)}\n"
    whole = []
    for packed in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", packed) as archive:
            archive.writestr("img_align_celeba/000001.jpg", jpeg)
            archive.writestr("img_align_celeba/000002.jpg", jpeg)
            archive.writestr("list_landmarks_align_celeba.txt", table)
            archive.writestr("list_attr_celeba.txt", "1\nBald\n000001.jpg 1\n")
        whole.append(buffer.getvalue())
    for number in numbers:
        rng = np.random.default_rng([seed, number])
        data = whole[number % 2]
        # Half of the damage into the directory, which is at the end.
        at = data.index(b"PK\x01\x02") if number % 4 < 2 else 0
        path = folder / "x.zip"
        path.write_bytes(data[:at] + damaged(data[at:], rng))
        told(number, "zip", partial(use, path))


def main(kind: str, folder: Path, count: int, seed: int) -> None:
    """Try what whole files do first: every library is loaded before memory is bounded."""
    warnings.simplefilter("ignore")  # as the command line does
    for name, data in originals().items():
        (folder / "x").write_bytes(data)
        expected = "refused" if name.endswith(" F") else "scored"
        found = became(outcome_of(StoredFile(folder / "x"), POINTS, folder))
        assert found == expected, (name, found)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + BOUND_BYTES, resource.RLIM_INFINITY))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders talk
    {"photos": photos, "zips": zips}[kind](folder, range(count), seed)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
