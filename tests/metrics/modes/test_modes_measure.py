"""Images in, modes and KL out; and the command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pgtools.errors import InputError
from pgtools.metrics.evaluate import Evaluator, Reading
from pgtools.metrics.measure import SetOfImages
from pgtools.metrics.modes.collect import Classes
from pgtools.metrics.modes.data import DataClasses, classes_of
from pgtools.metrics.modes.measure import RecoveredModesMeasure
from pgtools.metrics.modes.settings import RecoveredModesSettings
from pgtools.progan.config import Architecture
from pgtools.progan.generator import Generator
from pgtools.progan.run.snapshot import Snapshot, write_snapshot
from pgtools.runtime.results import MetricResult, result_from_dict
from pgtools.runtime.run_format import SNAPSHOT_SUFFIX
from tests.metrics.modes.digits import stacked, write_mnist
from tests.metrics.sets import ArraySource
from tests.stores.sets import Held, image_folder, written

CPU = torch.device("cpu")
# 40 modes, eight images of each.
CLASSES = np.repeat(np.arange(17, 1000, 25), 8)
SETTINGS = RecoveredModesSettings()
LABELS = np.random.default_rng(0).permutation(1000)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return stacked(CLASSES, 21)


def scored(measure: RecoveredModesMeasure, images: np.ndarray, *, batch: int = 32, seed: int = 0) -> MetricResult:
    with Evaluator([measure], None, Reading(None, seed, batch), CPU) as evaluator:
        return evaluator.score(ArraySource(images))[0]


def test_modes_of_known_images(classifier, images) -> None:
    result = scored(RecoveredModesMeasure(SETTINGS, classifier), images)
    # The classifier names about 1 of 300 digits wrong, which is a wrong class each time.
    assert 40 <= result.values["modes"] <= 50
    assert result.values["kl"] == pytest.approx(np.log(1000 / 40), abs=0.1)
    assert (result.direction, result.direction_of("kl")) == ("higher", "lower")
    assert result.protocol["classifier"] == classifier.sha256
    assert result.protocol["classifier_accuracy"] == classifier.accuracy
    assert (result.protocol["data"], result.protocol["sets"], result.protocol["num_images"]) == ("uniform", 1, 320)
    assert result_from_dict(json.loads(json.dumps(result.as_dict())), where="here") == result


def test_batch_and_larger_images_change_nothing(classifier, images) -> None:
    measure = RecoveredModesMeasure(SETTINGS, classifier, sets=4)
    first = scored(measure, images)
    assert scored(measure, images, batch=7).values == first.values
    assert scored(measure, images.repeat(2, axis=2).repeat(2, axis=3)).values == first.values
    # Other images share a set under another seed.
    assert scored(RecoveredModesMeasure(replace(SETTINGS, seed=1), classifier, sets=4), images).values != first.values


def test_dropped_digits_are_fewer_modes_and_more_kl(classifier) -> None:
    classes = np.random.default_rng(3).integers(0, 1000, 900)
    no_nines = np.where(classes % 10 == 9, classes - 1, classes)
    ones = classes % 10 + 110
    measure = RecoveredModesMeasure(SETTINGS, classifier)
    found = [scored(measure, stacked(kind, 22)) for kind in (classes, no_nines, ones)]
    modes, kl = ([one.values[part] for one in found] for part in ("modes", "kl"))
    assert modes[0] > modes[1] + 20 > modes[2] + 20
    assert kl[0] < kl[1] - 0.05 < kl[2] - 0.05
    assert "indistinguishable" in found[0].verdict["modes"]
    assert "worse" in found[1].verdict["kl"]
    assert "modes fewer" in found[2].verdict["modes"]


def test_two_processes_are_one(classifier, images) -> None:
    recipe = Classes(classifier)
    whole, first, second = (recipe.begin(SetOfImages("fake", "fake", len(images), 32), CPU) for _ in range(3))
    pixels, odd = torch.from_numpy(images), list(range(1, len(images), 2))
    even = list(range(0, len(images), 2))
    whole.update(pixels, range(len(images)))
    first.update(pixels[even], even)
    with pytest.raises(InputError, match="160 images of fake have not come"):
        first.classes()
    second.update(pixels[odd[::-1]], odd[::-1])
    (piece,) = second.parts()
    first.absorb(piece)
    np.testing.assert_array_equal(first.classes(), whole.classes())
    assert recipe == Classes(classifier)
    assert len({recipe, Classes(classifier)}) == 1


def test_grey_images_are_no_stacked_digits(classifier, images) -> None:
    grey = images[:, :1].repeat(3, axis=1)
    measure = RecoveredModesMeasure(SETTINGS, classifier)
    with pytest.raises(InputError, match="has grey images; stacked MNIST shows a digit in each"):
        scored(measure, grey)
    # What a broken generator makes is one mode, and no mistake of the user's.
    assert scored(measure, np.zeros_like(images)).values["modes"] == 1
    mixed = np.concatenate([grey[:10], images[:10]])
    assert scored(measure, mixed).values["modes"] > 1


def test_two_equal_colours_are_not_grey(classifier, images) -> None:
    for other in range(3):
        two = images[:20, [(other + 1) % 3] * 3]
        two[:, other] = images[:20, other] ^ 1
        collected = Classes(classifier).begin(SetOfImages("fake", "fake", 20, 32), CPU)
        collected.update(torch.from_numpy(two), range(20))
        assert len(collected.classes()) == 20


def test_large_images_are_lowered_as_the_stores_lower(classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def look(network: object, batch: torch.Tensor) -> torch.Tensor:
        seen.append(batch.clone())
        return torch.zeros(len(batch), dtype=torch.int64)

    monkeypatch.setattr("pgtools.metrics.modes.collect.stacked_classes", look)
    large = np.random.default_rng(0).integers(0, 4, (5, 3, 64, 64), np.uint8)
    Classes(classifier).begin(SetOfImages("fake", "fake", 5, 64), CPU).update(torch.from_numpy(large), range(5))
    np.testing.assert_array_equal(seen[0].numpy(), ArraySource(large).read(range(5), 32))


def test_what_is_refused_before_images_are_read(classifier) -> None:
    source = ArraySource(np.zeros((4, 3, 16, 16), np.uint8), "small")
    with Evaluator([RecoveredModesMeasure(SETTINGS, classifier)], None, Reading(), CPU) as evaluator:
        with pytest.raises(InputError, match="small has 16² images; stacked MNIST has 32²"):
            evaluator.score(source)
        assert source.reads == 0
    with pytest.raises(InputError, match=r"names 42\.00% of its held-out digits right; expected 90\.00%"):
        RecoveredModesMeasure(SETTINGS, replace(classifier, accuracy=0.42))
    RecoveredModesMeasure(replace(SETTINGS, least_accuracy=0.4), replace(classifier, accuracy=0.42))
    with pytest.raises(InputError, match="There are 4 images for 5 sets"):
        RecoveredModesMeasure(SETTINGS, classifier, sets=5).check(None, 4)


def test_kl_is_to_the_real_classes_if_given(classifier, images) -> None:
    labels = np.concatenate([CLASSES, [999]])
    real = Held(np.concatenate([images, images[:1]]), name="real", labels=labels)
    by_label = classes_of(real, classifier, CPU, batch=64)
    assert by_label == DataClasses.of(labels)
    seen = classes_of(Held(images, name="real"), classifier, CPU, batch=64)
    assert sum(abs(a - b) for a, b in zip(seen.counts, DataClasses.of(CLASSES).counts, strict=True)) <= 20
    result = scored(RecoveredModesMeasure(SETTINGS, classifier, data=seen), images)
    assert result.values["kl"] == pytest.approx(0, abs=1e-9)
    assert result.protocol["data"] == seen.sha256
    with pytest.raises(InputError, match="the data none of it"):
        scored(RecoveredModesMeasure(SETTINGS, classifier, data=DataClasses.of(np.array([3]))), images)
    for wrong in ((), (0,) * 1000, (1,) * 10, (-1, *(1,) * 999)):
        with pytest.raises(InputError, match="expected 1000"):
            DataClasses(wrong)


def test_the_command_splits_a_store_into_sets(pgtools, tmp_path: Path, images, classifier_file: Path) -> None:
    store = written(tmp_path, images, "fake.lmdb")[0]
    words = ("recovered-modes", store, "--classifier", classifier_file, "--device", "cpu")
    done = pgtools(*words, "--num-images", 100, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert (found["protocol"]["sets"], found["protocol"]["num_images"]) == (3, 300)
    assert "320 images make 3 sets of 100; 10 were asked for" in done.err
    assert "% of the digits held out from its training right" in done.err
    assert found["scatter"]["over sets"].keys() == {"modes", "kl"}
    text = pgtools(*words)
    assert text.code == 0, text.err
    assert "Recovered modes of stacked MNIST, higher is better" in text.out
    assert {"modes", "kl"} <= {line.split()[0] for line in text.out.splitlines() if line}
    assert "classifier_accuracy" in text.out


def test_a_generator_makes_every_set_anew(pgtools, tmp_path: Path, classifier_file: Path) -> None:
    network = Generator(Architecture(32, latent=8, fmap_base=128, fmap_max=16), seed=1).eval()
    file = tmp_path / f"network{SNAPSHOT_SUFFIX}"
    write_snapshot(file, Snapshot(network, 0.0, 0))
    words = ("recovered-modes", file, "--classifier", classifier_file, "--device", "cpu", "--num-images", 20)
    done = pgtools(*words, "--repeats", 3, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert (found["protocol"]["sets"], found["protocol"]["num_images"]) == (3, 60)
    assert "sets of" not in done.err
    assert 1 <= found["values"]["modes"] <= 20
    assert found["floor"]["modes"] == pytest.approx(1000 * (1 - 0.999**20))


@pytest.mark.gpu
def test_a_gpu_names_the_same_digits(classifier, images) -> None:
    measure = RecoveredModesMeasure(SETTINGS, classifier)
    with Evaluator([measure], None, Reading(), torch.device("cuda")) as evaluator:
        assert evaluator.score(ArraySource(images))[0].values == scored(measure, images).values


def test_the_command_trains_and_keeps_a_classifier(pgtools, tmp_path: Path, images) -> None:
    mnist, store = write_mnist(tmp_path / "mnist", train=200, test=60), image_folder(tmp_path / "fake", images[:64])
    file = tmp_path / "digits.safetensors"
    words = ("recovered-modes", store, "--device", "cpu", "--classifier", file)
    trained = pgtools(*words, "--train-on", mnist, "--epochs", 2, "--least-accuracy", 0, "--json")
    assert trained.code == 0, trained.err
    assert file.is_file()
    again = pgtools(*words, "--least-accuracy", 0, "--json")
    assert json.loads(again.out)["values"] == json.loads(trained.out)["values"]
    assert pgtools(*words, "--train-on", mnist).code == 1


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("fake.lmdb",), 2, "A classifier of digits is needed"),
        (("fake.lmdb", "--classifier", "none.safetensors"), 1, "none.safetensors is not a file"),
        (("fake.lmdb", "--classifier", "fake.lmdb/data.mdb"), 1, "is no digit classifier"),
        (("none", "--classifier", "digits.safetensors"), 1, "none does not exist"),
        (("mnist", "--classifier", "digits.safetensors"), 1, "mnist has grey images"),
        (("small.lmdb", "--classifier", "digits.safetensors"), 1, "has 16² images; stacked MNIST has 32²"),
        (("fake.lmdb", "--train-on", "fake.lmdb", "--classifier", "new"), 1, "has no labels"),
        (("fake.lmdb", "--classifier", "digits.safetensors", "--real", "small.lmdb"), 1, "has 16² images"),
        (
            ("fake.lmdb", "--classifier", "digits.safetensors", "--num-images", "99"),
            1,
            "has 8 images; --num-images is 99",
        ),
        (("fake.lmdb", "--classifier", "digits.safetensors", "--epochs", "3"), 2, "--epochs is of --train-on"),
        (("fake.lmdb", "--train-on", "mnist", "--epochs", "0"), 2, "--epochs is 0"),
        (("fake.lmdb", "--classifier", "digits.safetensors", "--repeats", "0"), 2, "--repeats is 0"),
    ],
)
def test_bad_words_are_one_line_before_anything_is_trained(
    pgtools, tmp_path: Path, monkeypatch, classifier_file: Path, words, code: int, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, np.random.default_rng(0).integers(0, 256, (8, 3, 32, 32), np.uint8), "fake.lmdb")
    written(tmp_path, np.random.default_rng(0).integers(0, 256, (8, 3, 16, 16), np.uint8), "small.lmdb")
    write_mnist(tmp_path / "mnist", train=20, test=20)
    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr(
        "pgtools.metrics.modes.training.train_classifier", lambda *words, **named: pytest.fail("it trains")
    )
    done = pgtools("recovered-modes", *words, "--device", "cpu")
    assert done.code == code, done.err
    errors = [line for line in done.err.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1 and message in errors[0]
    assert "asked for" not in done.err
    assert done.out == ""
    assert sorted(tmp_path.iterdir()) == before


def test_a_poor_classifier_is_told(pgtools, tmp_path: Path, images, classifier) -> None:
    from pgtools.metrics.modes.classifier import to_bytes

    file = tmp_path / "poor.safetensors"
    store = written(tmp_path, images[:20], "fake.lmdb")[0]
    file.write_bytes(to_bytes(classifier.network, 0.91, classifier.made))
    words = ("recovered-modes", store, "--classifier", file, "--device", "cpu")
    assert "That is little" in pgtools(*words).err
    file.write_bytes(to_bytes(classifier.network, 0.89, classifier.made))
    done = pgtools(*words)
    assert done.code == 1
    assert "names 89.00% of its held-out digits right" in done.err
