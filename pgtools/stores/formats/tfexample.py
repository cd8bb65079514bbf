"""One record of a TFRecord file: its frame of lengths and checksums, and the `tf.train.Example` of one image in it.

The frame is the length (uint64, little endian), its masked CRC-32C, the payload, the payload's masked CRC-32C. The
payload is a protocol buffer: Example → Features → map of name → Feature → a list of int64 (`shape`: C, H, W) or of
bytes (`data`: the C×H×W values).

Source: TensorFlow's `record_writer.h` (the frame) and `example.proto`, `feature.proto` (the fields' numbers).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import google_crc32c
import numpy as np
from numpy.typing import NDArray

# Before the payload: its length and the length's checksum. After it: its own checksum.
HEAD = struct.Struct("<QI")
TAIL = struct.Struct("<I")
FRAME_BYTES = HEAD.size + TAIL.size
MASK_DELTA = 0xA282EAD8
# Fields of an Example beside its pixels take under 100 bytes; other writers may add a few features of their own.
MAX_EXTRA_BYTES = 1 << 16

VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5
# The numbers of the fields: Feature's kinds, of which an image uses two.
BYTES_LIST, INT64_LIST = 1, 3


def masked_crc(data: bytes) -> int:
    """Return the CRC-32C of `data`, rotated right by 15 bits plus a constant, as the frames keep it."""
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + MASK_DELTA) & 0xFFFFFFFF


def framed(payload: bytes) -> bytes:
    """Return one record of a TFRecord file."""
    length = struct.pack("<Q", len(payload))
    return b"".join((length, TAIL.pack(masked_crc(length)), payload, TAIL.pack(masked_crc(payload))))


def payload_length(head: bytes) -> int:
    """Return the length of the payload that the first 12 bytes of a record announce.

    Raises:
        ValueError: their checksum differs.
    """
    length, crc = HEAD.unpack(head)
    if crc != masked_crc(head[:8]):
        raise ValueError("the checksum of its length differs")
    return int(length)


def unframed(record: bytes) -> bytes:
    """Return the payload of one whole record.

    Raises:
        ValueError: a checksum differs, or the record announces another length.
    """
    length = payload_length(record[: HEAD.size])
    if length != len(record) - FRAME_BYTES:
        raise ValueError(f"it announces {length} bytes; expected {len(record) - FRAME_BYTES}, as in the first")
    payload = record[HEAD.size : -TAIL.size]
    if TAIL.unpack(record[-TAIL.size :])[0] != masked_crc(payload):
        raise ValueError("its checksum differs")
    return payload


def encode_example(image: NDArray[np.uint8]) -> bytes:
    """Return one image, uint8 (C, H, W), as the authors' data set tool serialises it: `shape` first, packed."""
    shape = b"".join(map(_varint, image.shape))
    data = np.ascontiguousarray(image).tobytes()
    features = _field(1, _feature(b"shape", _field(INT64_LIST, _field(1, shape))))
    features += _field(1, _feature(b"data", _field(BYTES_LIST, _field(1, data))))
    return _field(1, features)


def decode_example(payload: bytes, side: int) -> NDArray[np.uint8]:
    """Return the image of a serialised Example, uint8 (C, side, side), C = 1 or 3; a view into `payload`.

    Raises:
        ValueError: it is no Example, lacks `shape` or `data`, or they are not of such an image.
    """
    shape: list[int] = []
    data: list[memoryview] = []
    for features in _messages(memoryview(payload), 1):
        for entry in _messages(features, 1):
            name, feature = _entry(entry)
            # Of two entries of one name the last counts, as in every map of a protocol buffer.
            if name == b"shape":
                shape = _int64s(feature)
            elif name == b"data":
                data = [value for values in _messages(feature, BYTES_LIST) for value in _messages(values, 1)]
    if len(shape) != 3 or shape[0] not in (1, 3) or shape[1:] != [side, side]:
        raise ValueError(f"its shape is {shape}; expected [3, {side}, {side}] or [1, {side}, {side}]")
    if len(data) != 1 or len(data[0]) != shape[0] * side * side:
        raise ValueError(f"its data are {[len(one) for one in data]} bytes; expected {shape[0] * side * side}")
    return np.frombuffer(data[0], np.uint8).reshape(shape)


def _entry(entry: memoryview) -> tuple[bytes, memoryview]:
    """Return key and value of one entry of a map; either is empty if it is not there."""
    key = value = memoryview(b"")
    for number, _, found in _fields(entry):
        if isinstance(found, memoryview) and number == 1:
            key = found
        elif isinstance(found, memoryview) and number == 2:
            value = found
    return (bytes(key) if len(key) <= 16 else b""), value


def _int64s(feature: memoryview) -> list[int]:
    """Return the numbers of an Int64List, packed or not, up to the fourth: a shape has three."""
    numbers: list[int] = []
    for values in _messages(feature, INT64_LIST):
        for number, wire, found in _fields(values):
            if number != 1 or len(numbers) > 3:
                continue
            if isinstance(found, int) and wire == VARINT:
                numbers.append(found)
            elif isinstance(found, memoryview) and wire == LENGTH_DELIMITED:
                position = 0
                while position < len(found) and len(numbers) <= 3:
                    value, position = _read_varint(found, position)
                    numbers.append(value)
    return numbers


def _messages(data: memoryview, wanted: int) -> Iterator[memoryview]:
    """Yield the length-delimited fields of one number."""
    for number, wire, value in _fields(data):
        if number == wanted and wire == LENGTH_DELIMITED and isinstance(value, memoryview):
            yield value


def _fields(data: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """Yield (number, wire type, value) of each field of a message; ValueError where it is none."""
    position = 0
    while position < len(data):
        tag, position = _read_varint(data, position)
        number, wire = tag >> 3, tag & 7
        if number == 0:
            raise ValueError("it is no tf.train.Example (field 0)")
        if wire == VARINT:
            value, position = _read_varint(data, position)
            yield number, wire, value
            continue
        if wire == LENGTH_DELIMITED:
            size, position = _read_varint(data, position)
        elif wire in (FIXED64, FIXED32):
            size = 8 if wire == FIXED64 else 4
        else:
            raise ValueError(f"it is no tf.train.Example (wire type {wire})")
        if size > len(data) - position:
            raise ValueError("it is no tf.train.Example (a field is longer than its message)")
        yield number, wire, data[position : position + size]
        position += size


def _read_varint(data: memoryview, position: int) -> tuple[int, int]:
    """Return the number at `position`, of ten bytes at most, and where the next field starts."""
    value = 0
    for shift, byte in enumerate(data[position : position + 10]):
        value |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return value, position + shift + 1
    raise ValueError("it is no tf.train.Example (a number does not end)")


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | LENGTH_DELIMITED) + _varint(len(value)) + value


def _feature(name: bytes, kind: bytes) -> bytes:
    return _field(1, name) + _field(2, kind)
