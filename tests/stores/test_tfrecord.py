"""TFRecords: held to the authors' own files byte by byte, read from files that are built here with plain struct."""

from __future__ import annotations

import os
import pickle
import struct
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgtools.errors import InputError, OutputError, PgtoolsError
from pgtools.imaging.pyramid import mean_pyramid
from pgtools.stores.formats.labels import MAX_ONE_HOT_CLASSES
from pgtools.stores.formats.tfrecord import TfrecordStore
from pgtools.stores.opening import open_source
from tests.pictures import noise_images, smooth_images
from tests.stores.sets import image_folder, written

ISCSI_READ = bytes.fromhex(
    "01c00000 00000000 00000000 00000000 14000000 00000400 00000014 00000018 28000000 00000000 02000000 00000000"
)


def varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value % 128 + 128]) + varint(value // 128)


def field(number: int, value: bytes) -> bytes:
    return varint(8 * number + 2) + varint(len(value)) + value


def crc(data: bytes) -> bytes:
    plain = google_crc32c.value(data)
    rotated = (plain // 2**15 + plain * 2**17) % 2**32
    return struct.pack("<I", (rotated + 0xA282EAD8) % 2**32)


def record(payload: bytes) -> bytes:
    length = struct.pack("<Q", len(payload))
    return length + crc(length) + payload + crc(payload)


def shape_list(shape: tuple[int, ...], *, packed: bool = True) -> bytes:
    values = [varint(value) for value in shape]
    return field(3, field(1, b"".join(values)) if packed else b"".join(b"\x08" + value for value in values))


def entry(key: bytes, feature: bytes, *, value_first: bool = False) -> bytes:
    parts = [field(1, key), field(2, feature)]
    return field(1, b"".join(parts[::-1] if value_first else parts))


def example(image: np.ndarray, *, packed: bool = True, turned: bool = False, extra: bytes = b"") -> bytes:
    entries = [
        entry(b"shape", shape_list(image.shape, packed=packed), value_first=turned),
        entry(b"data", field(1, field(1, image.tobytes())), value_first=turned),
    ]
    return field(1, b"".join(entries[::-1] if turned else entries) + extra)


def tfrecords(folder: Path, images: np.ndarray, *, name: str = "x", levels: object = None, **how: object) -> Path:
    """Write TFRecords of uint8 (N, C, R, R) at some levels, all if none are named."""
    folder.mkdir(exist_ok=True)
    for level, at_level in mean_pyramid(images).items():
        if levels is None or level in levels:  # type: ignore[operator]
            file = folder / f"{name}-r{int(np.log2(level)):02d}.tfrecords"
            file.write_bytes(b"".join(record(example(image, **how)) for image in at_level))  # type: ignore[arg-type]
    return folder


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (ISCSI_READ, 0xD9963A56),
    ],
)
def test_the_checksum_is_the_one_of_rfc_3720(data: bytes, expected: int) -> None:
    """Known answers of RFC 3720, appendix B.4."""
    assert google_crc32c.value(data) == expected


@pytest.mark.shared
def test_the_files_are_the_authors_byte_by_byte(tmp_path, shared: Path) -> None:
    golden = shared / "golden" / "tfrecords" / "tiny"
    images = np.load(golden.parent / "tiny-source.npz")["images"]
    labels = np.load(golden / "tiny-rxx.labels").argmax(axis=1)
    (tmp_path / "set").mkdir()
    (path,) = written(tmp_path / "set", images, "tfrecord", labels=labels, classes=4)
    named = {file.name.replace("tfrecord-", "tiny-"): file.read_bytes() for file in path.iterdir()}
    assert named == {file.name: file.read_bytes() for file in golden.iterdir()}


@pytest.mark.shared
def test_the_authors_files_are_read(shared: Path) -> None:
    golden = shared / "golden" / "tfrecords" / "tiny"
    images = np.load(golden.parent / "tiny-source.npz")["images"]
    source = open_source(golden)
    assert isinstance(source, TfrecordStore)
    assert (len(source), source.levels, source.colour, source.classes) == (12, (32, 16, 8, 4), "rgb", 4)
    for level, expected in mean_pyramid(images).items():
        np.testing.assert_array_equal(source.read(range(12), level), expected)
    assert source.labels is not None
    np.testing.assert_array_equal(source.labels, np.load(golden / "tiny-rxx.labels").argmax(axis=1))


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(count=st.integers(1, 4), log_side=st.integers(2, 6), grey=st.booleans(), labelled=st.booleans())
def test_round_trip(tmp_path_factory, count: int, log_side: int, grey: bool, labelled: bool) -> None:
    images = noise_images(count, 2**log_side)
    images = images[:, :1].repeat(3, axis=1) if grey else images
    labels = np.arange(count) % 3 if labelled else None
    plan = {"colour": "grey" if grey else "rgb", **({"classes": 5} if labelled else {})}
    (path,) = written(tmp_path_factory.mktemp("s"), images, "tfrecord", labels=labels, **plan)
    source = open_source(path)
    assert (source.colour, source.classes) == (plan["colour"], plan.get("classes"))
    assert (None if source.labels is None else source.labels.tolist()) == (None if labels is None else labels.tolist())
    for level, expected in mean_pyramid(images).items():
        np.testing.assert_array_equal(source.read(range(count)[::-1], level), expected[::-1])


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(log_side=st.integers(2, 5), packed=st.booleans(), turned=st.booleans(), channels=st.sampled_from([1, 3]))
def test_any_order_and_packing_is_read(tmp_path_factory, log_side, packed, turned, channels) -> None:
    images = noise_images(2, 2**log_side)[:, :channels]
    extra = entry(b"label", field(3, b"\x08\x05")) + entry(b"weight", field(2, field(1, bytes(4)))) + b"\x9d\x06abcd"
    path = tfrecords(tmp_path_factory.mktemp("s"), images, packed=packed, turned=turned, extra=extra)
    source = open_source(path)
    assert source.colour == ("grey" if channels == 1 else "rgb")
    np.testing.assert_array_equal(
        source.read([1, 0]), images[::-1].repeat(4 - channels if channels == 1 else 1, axis=1)
    )


def test_the_last_of_two_entries_of_one_name_counts(tmp_path) -> None:
    image = noise_images(1, 4)[0]
    (tmp_path / "x-r02.tfrecords").write_bytes(
        record(example(image, extra=entry(b"data", field(1, field(1, image[::-1].tobytes())))))
    )
    np.testing.assert_array_equal(open_source(tmp_path).read([0])[0], image[::-1])


def test_levels_that_are_missing_are_computed_and_those_below_four_ignored(tmp_path) -> None:
    images = smooth_images(3, 16)
    tfrecords(tmp_path, images, levels=(16, 8))
    (tmp_path / "x-r01.tfrecords").write_bytes(b"whatever")
    source = open_source(tmp_path)
    assert source.levels == (16, 8, 4)
    np.testing.assert_array_equal(source.read(range(3), 4), mean_pyramid(images)[4])


def test_stored_levels_are_read_and_not_computed(tmp_path) -> None:
    tfrecords(tmp_path, smooth_images(2, 8), levels=(8,))
    other = noise_images(2, 4)
    tfrecords(tmp_path, other)
    np.testing.assert_array_equal(open_source(tmp_path).read(range(2), 4), other)


def refuse(path: Path, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        source = open_source(path)
        source.read(range(len(source)))
    assert "\n" not in caught.value.message


def test_files_that_disagree_are_refused(tmp_path) -> None:
    tfrecords(tmp_path, noise_images(3, 8), levels=(8,))
    tfrecords(tmp_path, noise_images(2, 4))
    refuse(tmp_path, r"x-r02\.tfrecords holds 2 images of 4².*x-r03\.tfrecords holds 3")
    (tmp_path / "x-r02.tfrecords").write_bytes(b"")
    refuse(tmp_path, r"x-r02\.tfrecords holds no images")


def test_two_sets_in_one_folder_are_refused(tmp_path) -> None:
    tfrecords(tmp_path, noise_images(1, 4), name="a")
    tfrecords(tmp_path, noise_images(1, 4), name="b-c")
    refuse(tmp_path, r"several sets \(a, b-c\)")


def test_a_size_no_image_has_is_refused(tmp_path) -> None:
    tfrecords(tmp_path, noise_images(1, 4)).joinpath("x-r02.tfrecords").rename(tmp_path / "x-r14.tfrecords")
    refuse(tmp_path, r"16384²; expected 8192²")


def test_only_levels_below_four_are_refused(tmp_path) -> None:
    (tmp_path / "x-r01.tfrecords").write_bytes(b"whatever")
    refuse(tmp_path, "no TFRecords of images of 4²")


@pytest.mark.parametrize("index", [0, 2])
@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("length", "the checksum of its length differs"),
        ("length crc", "the checksum of its length differs"),
        ("payload", "its checksum differs"),
        ("payload crc", "its checksum differs"),
    ],
)
def test_damage_names_level_image_and_file(tmp_path, index: int, part: str, message: str) -> None:
    file = tfrecords(tmp_path, noise_images(3, 8)) / "x-r03.tfrecords"
    data = bytearray(file.read_bytes())
    size = len(data) // 3
    place = {"length": 0, "length crc": 9, "payload": 12 + 60, "payload crc": size - 1}[part]
    data[index * size + place] ^= 0x10
    file.write_bytes(data)
    refuse(tmp_path, rf"x-r03\.tfrecords: image {index} at 8² is damaged \({message}\)")


@pytest.mark.parametrize("cut", [1, 4, 15, 97, 98 + 90])
def test_a_file_cut_short_is_refused_when_it_is_opened(tmp_path, cut: int) -> None:
    file = tfrecords(tmp_path, noise_images(3, 4)) / "x-r02.tfrecords"
    file.write_bytes(file.read_bytes()[:-cut])
    with pytest.raises(InputError, match=r"x-r02\.tfrecords has \d+ bytes, which is no multiple"):
        open_source(tmp_path)


def test_a_record_of_another_length_is_refused(tmp_path) -> None:
    image = noise_images(1, 4)[0]
    whole = record(example(image))
    short, long = (record(example(image, extra=entry(b"x", field(3, b"\x08\x05" * n)))) for n in (1, 9))
    padding = 3 * len(whole) - len(whole) - len(short)
    (tmp_path / "x-r02.tfrecords").write_bytes(whole + short + bytes(padding))
    refuse(tmp_path, "image 1 at 4² is damaged .it announces")
    (tmp_path / "x-r02.tfrecords").write_bytes(long + whole)
    refuse(tmp_path, "no multiple of its records")


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (example(np.zeros((3, 8, 8), np.uint8)), r"its shape is \[3, 8, 8\]; expected \[3, 4, 4\]"),
        (example(np.zeros((2, 4, 4), np.uint8)), r"its shape is \[2, 4, 4\]"),
        (example(np.zeros((3, 16), np.uint8)), r"its shape is \[3, 16\]"),
        (field(1, entry(b"data", field(1, field(1, bytes(48))))), r"its shape is \[\]"),
        (field(1, entry(b"shape", shape_list((3, 4, 4)))), r"its data are \[\] bytes; expected 48"),
        (
            field(1, entry(b"shape", shape_list((3, 4, 4))) + entry(b"data", field(1, field(1, bytes(47))))),
            r"its data are \[47\] bytes",
        ),
        (
            field(1, entry(b"shape", shape_list((3, 4, 4))) + entry(b"data", field(1, 2 * field(1, bytes(48))))),
            r"its data are \[48, 48\] bytes",
        ),
        (
            field(1, entry(b"shape", field(3, field(1, b"\xff" * 9 + b"\x01")))),
            r"its shape is \[18446744073709551615\]",
        ),
        (b"\x0a\x40", "longer than its message"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "a number does not end"),
        (b"\x0b", "wire type 3"),
        (b"\x00\x00", "field 0"),
        (b"", r"its shape is \[\]"),
    ],
)
def test_a_payload_that_is_no_such_image_is_refused(tmp_path, payload: bytes, message: str) -> None:
    (tmp_path / "x-r02.tfrecords").write_bytes(record(payload))
    refuse(tmp_path, message)


def test_an_absurd_length_is_refused_without_reading_it(tmp_path) -> None:
    length = struct.pack("<Q", 1 << 60)
    (tmp_path / "x-r02.tfrecords").write_bytes(length + crc(length) + bytes(100))
    refuse(tmp_path, f"it announces {1 << 60} bytes")


def test_grey_among_colour_is_refused(tmp_path) -> None:
    colour, grey = noise_images(1, 4)[0], noise_images(1, 4)[0][:1]
    one = record(example(colour))
    missing = len(one) - len(record(example(grey)))
    two = record(example(grey, extra=entry(b"z", field(1, field(1, bytes(missing - 11))))))
    assert len(one) == len(two)
    (tmp_path / "x-r02.tfrecords").write_bytes(one + two)
    refuse(tmp_path, "image 1 at 4² has 1 channels; the first has 3")


def test_labels_are_read_when_they_are_asked_for(tmp_path) -> None:
    tfrecords(tmp_path, noise_images(3, 4))
    (tmp_path / "x-rxx.labels").write_bytes(b"no array")
    source = open_source(tmp_path)
    with pytest.raises(InputError, match=r"x-rxx\.labels is not a plain"):
        _ = source.labels
    with (tmp_path / "x-rxx.labels").open("wb") as file:
        np.save(file, np.eye(6, dtype=np.float32)[[4, 0, 1]])
    source = open_source(tmp_path)
    assert source.labels is not None
    assert (source.labels.tolist(), source.classes) == ([4, 0, 1], 6)


def test_a_missing_image_and_a_pickled_source(tmp_path) -> None:
    images = noise_images(2, 4)
    source = open_source(tfrecords(tmp_path, images))
    with pytest.raises(InputError, match="has no image 2; it holds 2"):
        source.read([2])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source)).read([1]), images[[1]])  # noqa: S301


def test_a_class_that_is_none_is_refused_and_nothing_is_left(tmp_path) -> None:
    with pytest.raises(InputError, match=r"1\.png: its class is 3; expected 0 to 2"):
        written(tmp_path, noise_images(2, 4), "tfrecord", labels=[0, 3], classes=3)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_a_strangers_file_is_not_replaced(tmp_path) -> None:
    images = noise_images(2, 4)
    (path,) = written(tmp_path, images, "tfrecord")
    written(tmp_path, images, "tfrecord")
    (path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"holds thesis\.txt"):
        written(tmp_path, images, "tfrecord")
    assert (path / "thesis.txt").read_text() == "mine"
    image_folder(tmp_path / "photos", images)
    assert not isinstance(open_source(tmp_path / "photos"), TfrecordStore)


def test_no_flipped_byte_gets_through(tmp_path) -> None:
    """Every byte of a TFRecord is under a checksum, so each of 200 flips is refused, and as an error of ours."""
    images, rng = noise_images(3, 8), np.random.default_rng(0)
    (path,) = written(tmp_path, images, "tfrecord")
    file = path / "tfrecord-r03.tfrecords"
    whole = file.read_bytes()
    for _ in range(200):
        data = bytearray(whole)
        data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        file.write_bytes(data)
        with pytest.raises(PgtoolsError):
            open_source(path).read(range(3))


def test_what_is_no_file_is_refused_without_waiting_for_it(tmp_path) -> None:
    tfrecords(tmp_path, noise_images(2, 8), levels=[8])
    os.mkfifo(tmp_path / "x-r02.tfrecords")
    with pytest.raises(InputError, match=r"x-r02\.tfrecords is no regular file"):
        open_source(tmp_path)


def test_labels_may_be_class_numbers(tmp_path) -> None:
    tfrecords(tmp_path, noise_images(3, 4))
    with (tmp_path / "x-rxx.labels").open("wb") as file:
        np.save(file, np.array([2, 0, 70_000]))
    source = open_source(tmp_path)
    assert (source.labels.tolist(), source.classes) == ([2, 0, 70_000], 70_001)


def test_one_hot_labels_have_a_limit(tmp_path) -> None:
    images = noise_images(1, 4)
    (path,) = written(tmp_path, images, "tfrecord", labels=[7], classes=MAX_ONE_HOT_CLASSES)
    assert np.load(path / "tfrecord-rxx.labels").shape == (1, MAX_ONE_HOT_CLASSES)
    with pytest.raises(InputError, match=r"tfrecord: labels of 65,537 classes; .* take 65,536 at most") as caught:
        written(tmp_path, images, "tfrecord", labels=[7], classes=MAX_ONE_HOT_CLASSES + 1)
    assert "--no-labels" in caught.value.hint
    assert open_source(path).classes == MAX_ONE_HOT_CLASSES
