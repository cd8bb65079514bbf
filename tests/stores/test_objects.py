"""Data set objects: torchvision's, Hugging Face's where it is installed, and small ones made here."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import struct
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pgtools.errors import InputError
from pgtools.imaging.fit import Fit
from pgtools.stores.format import Reading
from pgtools.stores.formats.libraries import HUGGINGFACE_FORMAT, open_torchvision
from pgtools.stores.formats.objects import from_dataset
from tests.pictures import noise_images

IMAGES = noise_images(5, 8)
LABELS = [2, 0, 1, 1, 0]


def hwc(image: np.ndarray) -> np.ndarray:
    return image.transpose(1, 2, 0)


class Pairs:
    """A data set of torchvision's kind."""

    def __init__(self, items: list[Any], **attributes: Any) -> None:
        self.items = items
        self.__dict__.update(attributes)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


KINDS = {
    "pillow": lambda image: Image.fromarray(hwc(image)),
    "array": hwc,
    "tensor": torch.from_numpy,
    "alpha": lambda image: np.dstack([hwc(image), np.full((8, 8), 7, np.uint8)]),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", [lambda x: (x, 3), lambda x: [x, 3], lambda x: x, lambda x: {"img": x, "label": 3}])
def test_items_of_every_kind(kind: str, form: Any) -> None:
    source = from_dataset(Pairs([form(KINDS[kind](image)) for image in IMAGES]))
    assert (len(source), source.resolution, source.name, source.labels) == (5, 8, "Pairs", None)
    order = [4, 0, 2, 2]
    np.testing.assert_array_equal(source.read(order), IMAGES[order])
    assert source.records([3])[0].name == "00000003"


@pytest.mark.parametrize("kind", [lambda x: x, torch.from_numpy, Image.fromarray, lambda x: x[:, :, None]])
def test_grey_is_repeated(kind: Any) -> None:
    source = from_dataset(Pairs([(kind(image[0].copy()), 0) for image in IMAGES]))
    np.testing.assert_array_equal(source.read(range(5)), IMAGES[:, :1].repeat(3, axis=1))


def test_sixteen_bits_become_eight_as_in_a_folder() -> None:
    grey = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1040
    source = from_dataset(Pairs([(Image.fromarray(grey), 0)]))
    np.testing.assert_array_equal(source.read([0])[0, 1], np.rint(grey / 257).astype(np.uint8))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.zeros(3, 8, 8), r"image 0 is float32 \(3, 8, 8\)"),
        (np.zeros((8, 8, 3)), "float64"),
        (np.zeros((3, 8, 8), np.uint8), "8 channels"),
        (torch.zeros(8, 8, 3, dtype=torch.uint8), "3×8 pixels|8 channels"),
        (np.zeros((1, 1, 8, 8), np.uint8), r"\(1, 1, 8, 8\)"),
        ("0001.png", "image 0 is str"),
        (None, "NoneType"),
    ],
)
def test_other_items_are_told(image: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_dataset(Pairs([(image, 0)])).read([0])


def test_labels_are_read_without_the_images() -> None:
    class Unreadable(Pairs):
        def __getitem__(self, index: int) -> Any:
            raise RuntimeError("first line\nsecond line")

    items = [None] * 5
    for targets in (LABELS, np.array(LABELS), torch.tensor(LABELS), tuple(LABELS)):
        source = from_dataset(Unreadable(items, targets=targets, classes=["a", "b", "c", "d"]))
        np.testing.assert_array_equal(source.labels, LABELS)
        assert source.classes == 4
        assert source.records([0])[0].attributes == {"class": "c"}
    np.testing.assert_array_equal(from_dataset(Unreadable(items, labels=np.array(LABELS))).labels, LABELS)
    turned = from_dataset(Unreadable(items, targets=LABELS, classes=list("abc"), target_transform=lambda t: t + 5))
    assert (turned.labels.tolist(), turned.classes) == ([t + 5 for t in LABELS], 8)
    with pytest.raises(InputError, match=r"image 0 cannot be read \(first line\)"):
        source.read([0])


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (LABELS[:4], "not one class number"),
        (["a"] * 5, "'a' is the first"),
        (np.eye(5), "not one class number"),
        ([0.5] * 5, "not one class number"),
        ([0, 1, 2, 2, -1], "from -1 to 2"),
        ([0, 1, 2, 3, 3], "from 0 to 3; expected 0 to 2"),
    ],
)
def test_labels_have_to_be_class_numbers(targets: Any, message: str) -> None:
    source = from_dataset(Pairs([hwc(image) for image in IMAGES], targets=targets, classes=["a", "b", "c"]))
    np.testing.assert_array_equal(source.read([1]), IMAGES[[1]])
    with pytest.raises(InputError, match=message):
        source.labels  # noqa: B018


def test_a_subset_of_torch_keeps_labels_and_names() -> None:
    whole = Pairs([(hwc(image), None) for image in IMAGES], targets=LABELS, classes=["a", "b", "c"])
    source = from_dataset(torch.utils.data.Subset(whole, [3, 0]))
    np.testing.assert_array_equal(source.read([1, 0]), IMAGES[[0, 3]])
    assert source.labels.tolist() == [1, 2]
    assert source.records([1])[0].attributes == {"class": "c"}


def test_what_is_no_data_set() -> None:
    with pytest.raises(InputError, match="A dictionary of 'train', 'test'"):
        from_dataset({"train": 1, "test": 2})
    with pytest.raises(InputError, match="generator has no length"):
        from_dataset(x for x in ())
    with pytest.raises(InputError, match="Pairs holds no images"):
        from_dataset(Pairs([]))


def test_one_thread_at_a_time_and_other_processes() -> None:
    class Single(Pairs):
        busy = False

        def __getitem__(self, index: int) -> Any:
            assert not self.busy
            self.busy = True
            time.sleep(0.0002)
            image = super().__getitem__(index)
            self.busy = False
            return image

    source = from_dataset(Single([hwc(image) for image in IMAGES] * 20))
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(source.read, [range(100)] * 4):
            np.testing.assert_array_equal(found[:5], IMAGES)
    source = from_dataset(Pairs([hwc(image) for image in IMAGES]), "mine", Fit("centre", 4, "box"))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(source.read, ([1],)), source.read([1]))


def mnist(folder: Path) -> None:
    folder.mkdir(parents=True)
    for stem, count in (("train", 4), ("t10k", 3)):
        pixels = np.random.default_rng(count).integers(0, 256, (count, 28, 28), np.uint8)
        (folder / f"{stem}-images-idx3-ubyte").write_bytes(struct.pack(">4I", 2051, count, 28, 28) + pixels.tobytes())
        labels = bytes(range(5, 5 + count))
        (folder / f"{stem}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 2049, count) + labels)


def test_torchvision_by_name(tmp_path: Path) -> None:
    mnist(tmp_path / "MNIST/raw")
    fit = Fit(resize=16)
    source = open_torchvision("MNIST", tmp_path, Reading(fit))
    pixels = np.random.default_rng(4).integers(0, 256, (4, 28, 28), np.uint8)
    expected = Image.fromarray(pixels[2]).convert("RGB").resize((16, 16), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(source.read([2])[0], np.asarray(expected).transpose(2, 0, 1))
    assert (source.labels.tolist(), source.classes) == ([5, 6, 7, 8], 10)
    assert source.records([0])[0].attributes == {"class": "5 - five"}
    assert len(open_torchvision("MNIST", tmp_path, Reading(fit, "test"))) == 3
    assert len(open_torchvision("MNIST", tmp_path, Reading(fit, "all"))) == 7
    with pytest.raises(InputError, match="MNIST has no split 'valid'; expected train, test or all"):
        open_torchvision("MNIST", tmp_path, Reading(fit, "valid"))


@pytest.mark.parametrize(
    "name", ["CIFAR10", "SVHN", "CelebA", "STL10", "SBU", "ImageNet", "LSUN", "ImageFolder", "DTD"]
)
def test_torchvision_downloads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("it went to the network")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    with pytest.raises(InputError, match=f"torchvision's {name} cannot be opened in {tmp_path}") as caught:
        open_torchvision(name, tmp_path, Reading())
    assert "\n" not in caught.value.message
    assert "network" not in caught.value.message


@pytest.mark.parametrize("name", ["Nothing", "os", "utils", "__all__", "vision.VisionDataset", ""])
def test_torchvision_names_are_its_own(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="torchvision has no data set"):
        open_torchvision(name, tmp_path, Reading())


def saved(folder: Path, **change: Any) -> Any:
    datasets = pytest.importorskip("datasets")
    features = {"img": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b", "c"])} | change
    values = {"img": [Image.fromarray(hwc(image)) for image in IMAGES], "label": LABELS}
    columns = {
        name: values.get(name, values["img"] if "Image" in str(kind) else LABELS) for name, kind in features.items()
    }
    dataset = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
    dataset.save_to_disk(folder)
    return datasets.load_from_disk(folder)


def test_a_hugging_face_data_set(tmp_path: Path) -> None:
    dataset = saved(tmp_path / "x")
    for source in (
        from_dataset(dataset),
        from_dataset(dataset.with_format("torch")),
        from_dataset(dataset.with_format("numpy")),
        HUGGINGFACE_FORMAT.open(tmp_path / "x", Reading()),
    ):
        order = [4, 0, 2, 2]
        np.testing.assert_array_equal(source.read(order), IMAGES[order])
        np.testing.assert_array_equal(source.labels, LABELS)
        assert source.classes == 3
        assert source.records([0])[0].attributes == {"class": "c"}
    assert HUGGINGFACE_FORMAT.recognises(tmp_path / "x")
    assert not HUGGINGFACE_FORMAT.recognises(tmp_path)
    some = from_dataset(dataset.select([3, 1]))
    np.testing.assert_array_equal(some.read([0, 1]), IMAGES[[3, 1]])
    assert some.labels.tolist() == [1, 0]


def test_hugging_face_labels_do_not_decode_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = saved(tmp_path / "x")
    source = from_dataset(dataset)
    monkeypatch.setattr("datasets.Image.decode_example", lambda *_, **__: pytest.fail("an image was decoded"))
    np.testing.assert_array_equal(source.labels, LABELS)


def test_columns_are_found_by_type_then_by_name(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    fine = {"label": datasets.Value("int64"), "fine_label": datasets.ClassLabel(names=["a", "b", "c"])}
    coarse = fine | {"coarse_label": datasets.ClassLabel(names=["x", "y", "z"])}
    source = from_dataset(saved(tmp_path / "a", **coarse))
    assert source.records([0])[0].attributes == {"class": "c"}
    source = from_dataset(saved(tmp_path / "b", label=datasets.Value("int32")))
    assert (source.labels.tolist(), source.records([0])[0].attributes) == (LABELS, {})
    source = from_dataset(saved(tmp_path / "c", mask=datasets.Image()))
    np.testing.assert_array_equal(source.read([1]), IMAGES[[1]])
    dataset = saved(tmp_path / "d", image=datasets.Image())
    with pytest.raises(InputError, match="several columns of images: image, img"):
        from_dataset(dataset)
    with pytest.raises(InputError, match="no column of images; it has label"):
        from_dataset(dataset.select_columns(["label"]))
    without = from_dataset(dataset.select_columns(["img"]))
    assert (without.labels, without.records([0])[0].attributes) == (None, {})


def test_saved_splits(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    dataset = saved(tmp_path / "x")
    path = tmp_path / "both"
    datasets.DatasetDict({"train": dataset, "test": dataset.select([4, 2])}).save_to_disk(path)
    assert HUGGINGFACE_FORMAT.recognises(path)
    assert len(HUGGINGFACE_FORMAT.open(path, Reading())) == 5
    test = HUGGINGFACE_FORMAT.open(path, Reading(split="test"))
    np.testing.assert_array_equal(test.read([0, 1]), IMAGES[[4, 2]])
    assert test.records([1])[0].attributes == {"split": "test", "class": "b"}
    everything = HUGGINGFACE_FORMAT.open(path, Reading(split="all"))
    assert (len(everything), everything.labels.tolist()) == (7, [*LABELS, 0, 1])
    with pytest.raises(InputError, match="no split 'validation'; expected train, test or all"):
        HUGGINGFACE_FORMAT.open(path, Reading(split="validation"))
    with pytest.raises(InputError, match="one data set without splits"):
        HUGGINGFACE_FORMAT.open(path / "test", Reading(split="test"))
    for splits in (["../x"], [], 3, [1]):
        (path / "dataset_dict.json").write_text(json.dumps({"splits": splits}))
        with pytest.raises(InputError, match=r"dataset_dict\.json is damaged"):
            HUGGINGFACE_FORMAT.open(path, Reading())


def test_saved_images_are_never_fetched(tmp_path: Path) -> None:
    """A saved data set may name any file or address in the place of an image."""
    datasets = pytest.importorskip("datasets")
    secret = tmp_path / "secret.png"
    Image.fromarray(hwc(IMAGES[0])).save(secret)
    place = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    features = datasets.Features({"img": place, "label": datasets.ClassLabel(names=["a", "b", "c"])})
    rows = [{"bytes": None, "path": str(secret)}, {"bytes": None, "path": "https://example.com/x.png"}]
    plain = datasets.Dataset.from_dict({"img": rows, "label": [0, 1]}, features=features)
    # `save_to_disk` would put the file in; a hostile writer does not.
    saved(tmp_path / "x")
    table = plain.cast_column("img", datasets.Image()).data.table
    import pyarrow as pa

    with (
        pa.OSFile(str(next((tmp_path / "x").glob("*.arrow"))), "wb") as sink,
        pa.ipc.new_stream(sink, table.schema) as w,
    ):
        w.write_table(table)
    source = HUGGINGFACE_FORMAT.open(tmp_path / "x", Reading())
    for index in range(2):
        with pytest.raises(InputError, match=f"image {index} is not in the data set itself"):
            source.decode(index)  # type: ignore[attr-defined]


@pytest.mark.parametrize("part", [0.0, 0.5, 0.97])
def test_truncated_and_damaged_folders(tmp_path: Path, part: float) -> None:
    saved(tmp_path / "x")
    file = next((tmp_path / "x").glob("*.arrow"))
    data = file.read_bytes()
    file.unlink()
    file.write_bytes(data[: int(part * len(data))])
    with pytest.raises(InputError, match="cannot be opened"):
        HUGGINGFACE_FORMAT.open(tmp_path / "x", Reading()).read(range(5))
    (tmp_path / "x/state.json").write_text("{}")
    with pytest.raises(InputError, match="cannot be opened"):
        HUGGINGFACE_FORMAT.open(tmp_path / "x", Reading())


def test_a_saved_data_set_travels(tmp_path: Path) -> None:
    saved(tmp_path / "x")
    source = HUGGINGFACE_FORMAT.open(tmp_path / "x", Reading())
    assert len(pickle.dumps(source)) < 10_000
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(source.read, ([3, 1],)), IMAGES[[3, 1]])


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match="needs the package datasets") as caught:
        HUGGINGFACE_FORMAT.open(tmp_path, Reading())
    assert caught.value.hint == "pip install datasets"
