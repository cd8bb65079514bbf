"""The digit classifier: how it is trained, its file, and files that are none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from pgtools.errors import InputError, MissingModelError, OutputError, UsageError
from pgtools.metrics.modes.classifier import (
    DigitNetwork,
    from_bytes,
    read_classifier,
    stacked_classes,
    to_bytes,
)
from pgtools.metrics.modes.settings import DigitTraining
from pgtools.metrics.modes.training import (
    _shifted,
    accuracy_on,
    initial_network,
    obtain_classifier,
    open_digits,
    read_digits,
    train_classifier,
)
from tests.metrics.modes.digits import digit_set, stacked, write_mnist
from tests.stores.sets import image_folder, written

CPU = torch.device("cpu")
QUICK = DigitTraining(epochs=1)


def header(**changed: object) -> dict[str, object]:
    return {"format": "pgtools-digits", "version": 1, "accuracy": 0.99, "made": {}} | changed


def file_with(tensors: dict[str, torch.Tensor], entry: object) -> bytes:
    return safetensors.torch.save(tensors, {"pgtools": entry if isinstance(entry, str) else json.dumps(entry)})


def weights() -> dict[str, torch.Tensor]:
    return {name: value.contiguous() for name, value in initial_network(0).state_dict().items()}


def test_it_learns_drawn_digits_and_says_how_well(classifier) -> None:
    assert classifier.accuracy > 0.97
    assert accuracy_on(classifier.network, digit_set(300, 11), CPU) == classifier.accuracy
    assert classifier.made["digits"] == {"name": "drawn 10", "fingerprint": f"{10:064x}", "count": 900}
    assert classifier.made["held_out"]["count"] == 300
    untrained = accuracy_on(initial_network(0).eval(), digit_set(300, 11), CPU)
    assert untrained < 0.4


def test_red_is_hundreds_green_tens_blue_ones(classifier) -> None:
    classes = np.random.default_rng(0).integers(0, 1000, 200)
    images = torch.from_numpy(stacked(classes, 12))
    with torch.no_grad():
        found = stacked_classes(classifier.network, images).numpy()
        one_by_one = torch.cat([stacked_classes(classifier.network, image[None]) for image in images]).numpy()
        none = stacked_classes(classifier.network, images[:0])
    assert np.mean(found == classes) > 0.93
    np.testing.assert_array_equal(found, one_by_one)
    assert none.shape == (0,)


def test_the_seed_decides_every_byte() -> None:
    train, held = digit_set(150, 1), digit_set(50, 2)
    before, state = torch.get_num_threads(), torch.random.get_rng_state()
    torch.set_num_threads(1)
    try:
        files = [train_classifier(train, held, DigitTraining(epochs=1, seed=seed), CPU) for seed in (0, 0, 1)]
    finally:
        torch.set_num_threads(before)
    assert files[0] == files[1] != files[2]
    assert torch.equal(state, torch.random.get_rng_state())


def test_shifts_move_whole_digits_by_no_more_than_told() -> None:
    image = np.zeros((1, 32, 32), np.uint8)
    image[0, 16, 16] = 200
    places = {tuple(np.argwhere(_shifted(image, DigitTraining(shift=2), step)[0])[0]) for step in range(200)}
    assert places == {(y, x) for y in range(14, 19) for x in range(14, 19)}
    assert _shifted(image, DigitTraining(shift=0), 0) is image


def test_a_file_comes_back_whole(trained, classifier_file: Path) -> None:
    data, classifier = trained
    found = read_classifier(classifier_file)
    assert found == classifier
    assert found.sha256 == __import__("hashlib").sha256(data).hexdigest()
    for name, tensor in classifier.network.state_dict().items():
        assert torch.equal(found.network.state_dict()[name], tensor)
    assert not found.network.training
    assert to_bytes(found.network, found.accuracy, found.made) == data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is no digit classifier"),
        (b"\x80\x04}.", "is no digit classifier"),
        (b"\xff" * 5000, "is no digit classifier"),
        (file_with(weights(), "[" * 100_000), "is no digit classifier"),
        (file_with(weights(), "[1]"), "is no digit classifier"),
        (file_with(weights(), {"format": "pgtools-compact"}), "is no digit classifier"),
        (file_with(weights(), header(version=2)), "has version 2; this pgtools reads 1"),
        (file_with(weights(), header(accuracy=1.5)), "accuracy or its origin is missing"),
        (file_with(weights(), header(accuracy=float("nan"))), "accuracy or its origin is missing"),
        (file_with(weights(), header(accuracy="high")), "accuracy or its origin is missing"),
        (file_with(weights(), header(made=None)), "accuracy or its origin is missing"),
        (file_with({}, header()), "is a damaged classifier"),
        (file_with(weights() | {"digits.bias": torch.zeros(11)}, header()), "is a damaged classifier"),
        (file_with(weights() | {"more": torch.zeros(1)}, header()), "is a damaged classifier"),
        (file_with(weights() | {"digits.bias": torch.full((10,), torch.nan)}, header()), "no numbers"),
        (file_with(weights() | {"digits.bias": torch.zeros(10, dtype=torch.int32)}, header()), "is torch.int32"),
        (file_with(weights(), header())[:-100], "is a damaged classifier"),
    ],
)
def test_files_that_are_no_classifier(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    with pytest.raises(InputError, match=message) as found:
        read_classifier(path)
    assert "\n" not in found.value.message


def test_a_pickle_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save(DigitNetwork().state_dict(), path)
    with pytest.raises(InputError, match="is no digit classifier"):
        read_classifier(path)
    with pytest.raises(MissingModelError, match="is not a file"):
        read_classifier(tmp_path / "none")
    with pytest.raises(MissingModelError):
        read_classifier(tmp_path)


def test_large_files_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.safetensors"
    with path.open("wb") as file:
        file.truncate(17 << 20)
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("read"))
    with pytest.raises(InputError, match="is no digit classifier"):
        read_classifier(path)


def test_mnist_has_its_own_split(tmp_path: Path) -> None:
    train, held = map(read_digits, open_digits(write_mnist(tmp_path / "mnist", train=40, test=20)))
    assert (len(train.images), len(held.images)) == (40, 20)
    np.testing.assert_array_equal(train.images, digit_set(40, 0).images)
    np.testing.assert_array_equal(held.labels, np.arange(20) % 10)
    assert len({train.fingerprint, held.fingerprint}) == 2


def test_of_a_store_a_sixth_is_held_out(tmp_path: Path) -> None:
    digits = digit_set(240, 3)
    large = digits.images.repeat(2, axis=1).repeat(2, axis=2)[:, None].repeat(3, axis=1)
    # Sorted by class, as folders are.
    order = np.argsort(digits.labels, kind="stable")
    path = written(tmp_path, large[order], "digits.lmdb", labels=digits.labels[order])[0]
    train, held = map(read_digits, open_digits(path))
    assert (len(train.images), len(held.images)) == (200, 40)
    together = {image.tobytes() for part in (train, held) for image in part.images}
    assert together == {image.tobytes() for image in digits.images}
    assert set(held.labels.tolist()) == set(range(10))
    np.testing.assert_array_equal(read_digits(open_digits(path)[1]).images, held.images)


@pytest.mark.parametrize(
    ("labels", "channels", "side", "message"),
    [
        (None, "grey", 32, "has no labels"),
        ([0, 1, 2] * 100, "grey", 32, "has 3 classes; expected the 10 digits"),
        ([0, *range(2, 10), 9] * 30, "grey", 32, "no 1 among them"),
        (list(range(10)) * 30, "colour", 32, "is coloured; expected grey digits"),
        (list(range(10)) * 30, "grey", 16, "has 16² images; expected 32² or more"),
    ],
)
def test_what_cannot_be_learnt_from(tmp_path: Path, labels, channels: str, side: int, message: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (300, 3, side, side), np.uint8)
    if channels == "grey":
        images[:] = images[:, :1]
    path = written(tmp_path, images, "x.lmdb", labels=labels)[0]
    with pytest.raises(InputError, match=message):
        obtain_classifier(tmp_path / "c.safetensors", path, QUICK, CPU)
    assert [file.name for file in tmp_path.iterdir()] == ["x.lmdb"]


def test_pictures_without_classes(tmp_path: Path) -> None:
    folder = image_folder(tmp_path / "f", digit_set(20, 0).images[:, None].repeat(3, axis=1))
    with pytest.raises(InputError, match="has no labels"):
        open_digits(folder)


def test_obtaining_trains_or_reads_and_never_replaces(tmp_path: Path) -> None:
    mnist, file = write_mnist(tmp_path / "mnist", train=60, test=20), tmp_path / "new" / "c.safetensors"
    made = obtain_classifier(file, mnist, QUICK, CPU)
    assert read_classifier(file) == made == obtain_classifier(file, None, QUICK, CPU)
    assert made.made["settings"]["epochs"] == 1
    with pytest.raises(OutputError, match="already exists"):
        obtain_classifier(file, mnist, QUICK, CPU)
    with pytest.raises(UsageError, match="A classifier of digits is needed"):
        obtain_classifier(None, None, QUICK, CPU)
    assert obtain_classifier(None, mnist, QUICK, CPU).made["digits"]["count"] == 60


def test_bytes_alone_make_a_classifier(trained) -> None:
    data, classifier = trained
    assert from_bytes(data, where="there") == classifier
