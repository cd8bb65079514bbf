from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pgtools.errors import InputError
from pgtools.progan.config import Architecture
from pgtools.progan.generator import Generator
from pgtools.progan.run.snapshot import Snapshot, write_snapshot
from pgtools.progan.sampling.conditions import Conditions
from pgtools.progan.sampling.source import (
    GeneratorSource,
    grid_count,
    images_at_once,
    images_of,
    latents_of,
    open_generator,
)

GENERATOR = Generator(Architecture(32, latent=8, fmap_base=128, fmap_max=16), seed=1).eval()


CLASSES = Generator(Architecture(16, latent=8, labels=3, fmap_base=64, fmap_max=8), seed=1).eval()


def images(
    *,
    count: int = 100,
    seed: int = 0,
    lod: float = 0.0,
    weights: Generator = GENERATOR,
    conditions: Conditions | None = None,
) -> GeneratorSource:
    return GeneratorSource(Snapshot(weights, lod, 0), name="g", count=count, seed=seed, conditions=conditions)


def test_an_image_depends_on_seed_and_number_alone() -> None:
    whole = images().read(range(100))
    assert whole.shape == (100, 3, 32, 32)
    assert whole.std() > 10
    for chosen in ([7], [99, 7, 7, 3], range(60, 70), range(31, 100)):
        np.testing.assert_array_equal(images(count=500).read(chosen), whole[list(chosen)])
    assert not np.array_equal(images(seed=1).read([7]), whole[[7]])


def test_the_network_always_sees_batches_of_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []
    whole = Generator.forward

    def watched(self: Generator, latents: torch.Tensor, *others: object) -> torch.Tensor:
        seen.append(tuple(latents.shape))
        return whole(self, latents, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(Generator, "forward", watched)
    for chosen in ([7], range(32), range(70)):
        images().read(chosen)
    assert seen == [(32, 8)] * 5
    assert [images_at_once(resolution) for resolution in (4, 64, 128, 256, 512, 1024)] == [32, 32, 16, 4, 1, 1]


@pytest.mark.gpu
def test_an_image_on_the_gpu_depends_on_its_number_alone() -> None:
    def made(count: int) -> GeneratorSource:
        weights = Generator(GENERATOR.shape, seed=1).eval()
        return GeneratorSource(Snapshot(weights, 0.0, 0), name="g", count=count, device="cuda")

    whole = made(100).read(range(100))
    for chosen in ([7], [99, 7, 7, 3], range(31, 100)):
        np.testing.assert_array_equal(made(500).read(chosen), whole[list(chosen)])
    difference = np.abs(images().read(range(100)).astype(int) - whole)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 5e-3


def test_latents_are_standard_normal_and_named() -> None:
    drawn = latents_of(3, range(2000), 16)
    assert abs(drawn.mean().item()) < 0.02
    assert abs(drawn.std().item() - 1) < 0.02
    assert torch.equal(latents_of(3, [1500, 2], 16), drawn[[1500, 2]])


def test_a_growing_generator_fills_the_full_resolution() -> None:
    small = images(lod=1.5, count=4).read(range(4))
    assert small.shape == (4, 3, 32, 32)
    np.testing.assert_array_equal(small, small[:, :, ::2, ::2].repeat(2, axis=2).repeat(2, axis=3))


def test_floats_become_bytes_by_rounding() -> None:
    class Constant(torch.nn.Module):
        shape = Architecture(4)

        def forward(self, latents: torch.Tensor, lod: float, labels: torch.Tensor | None) -> torch.Tensor:
            return torch.tensor([-1.5, 0.0, 0.5, 1.5]).expand(1, 3, 4, 4)

    found = images_of(Constant(), torch.zeros(1, 1), 0.0)  # type: ignore[arg-type]
    assert found[0, 0, 0].tolist() == [0, 128, 191, 255]  # 127.5 rounds to the even 128


def test_the_fingerprint_names_what_makes_the_images() -> None:
    other = Generator(GENERATOR.shape, seed=2)
    sources = [images(), images(seed=1), images(count=99), images(lod=1.0), images(weights=other)]
    sources += [images().picked([0, 1]), images().picked([1, 0]), images(conditions=Conditions(truncation=0.5))]
    assert len({source.fingerprint() for source in sources}) == 8
    assert images().fingerprint() == sources[0].fingerprint()


def test_only_numbered_images_are_there() -> None:
    assert len(images(count=3)) == 3
    assert images(count=3).read([]).shape == (0, 3, 32, 32)
    with pytest.raises(InputError, match="images 0 to 2"):
        images(count=3).read([3])


def test_a_generator_wants_a_count(tmp_path: Path) -> None:
    file = tmp_path / "s.safetensors"
    write_snapshot(file, Snapshot(GENERATOR, 0.0, 10))
    np.testing.assert_array_equal(open_generator(file, count=5).read([2]), images().read([2]))
    with pytest.raises(InputError) as caught:
        open_generator(file, count=None)
    assert caught.value.hint == "Pass --num-images N."


def test_picked_images_keep_their_numbers() -> None:
    picked = images(count=3).picked([42, 7])
    np.testing.assert_array_equal(picked.read([0, 1]), images().read([42, 7]))
    assert [record.name for record in picked.records([1, 0])] == ["000007.png", "000042.png"]
    with pytest.raises(InputError):
        picked.records([2])


def test_a_class_depends_on_seed_and_number_alone() -> None:
    drawn = images(weights=CLASSES)
    assert drawn.labels is not None and drawn.classes == 3
    assert sorted(set(drawn.labels.tolist())) == [0, 1, 2]
    assert drawn.picked([42, 7]).labels.tolist() == drawn.labels[[42, 7]].tolist()  # type: ignore[union-attr]
    other = images(weights=CLASSES, seed=1).labels
    assert not np.array_equal(other, drawn.labels)
    turns = drawn.picked([4, 5, 9], classes=(2, 0))
    assert turns.labels.tolist() == [2, 0, 0]  # type: ignore[union-attr]
    assert (images().labels, images().classes) == (None, None)


def test_the_class_shows_in_the_image() -> None:
    drawn = images(weights=CLASSES)
    assert drawn.labels is not None
    alike = drawn.picked([5], classes=(int(drawn.labels[5]),))
    np.testing.assert_array_equal(alike.read([0]), drawn.read([5]))
    other = drawn.picked([5], classes=((int(drawn.labels[5]) + 1) % 3,))
    assert not np.array_equal(other.read([0]), drawn.read([5]))


@pytest.mark.parametrize(
    ("weights", "asked", "found"), [(GENERATOR, (0,), "knows no classes"), (CLASSES, (0, 3), "the classes 0 to 2; 3 ")]
)
def test_classes_that_the_network_does_not_know_are_refused(
    weights: Generator, asked: tuple[int, ...], found: str
) -> None:
    with pytest.raises(InputError, match=found):
        images(weights=weights, conditions=Conditions(classes=asked))
    with pytest.raises(InputError, match=found):
        images(weights=weights).picked([0], classes=asked)


def test_one_channel_makes_grey_images() -> None:
    grey = images(weights=Generator(Architecture(8, latent=8, channels=1, fmap_base=64, fmap_max=8), seed=1).eval())
    found = grey.read(range(3))
    assert (grey.colour, found.shape) == ("grey", (3, 3, 8, 8))
    np.testing.assert_array_equal(found[:, 0], found[:, 2])


def test_a_snapshot_is_chosen_of_runs_alone(tmp_path: Path) -> None:
    file = tmp_path / "s.safetensors"
    write_snapshot(file, Snapshot(GENERATOR, 0.0, 10))
    with pytest.raises(InputError, match="one network"):
        open_generator(file, count=1, snapshot="best")


@pytest.mark.shared
def test_the_authors_pickle_is_a_source(shared: Path) -> None:
    found = open_generator(shared / "golden" / "karras-like-16.pkl", count=4)
    assert found.read(range(4)).shape == (4, 3, 16, 16)


def test_grids_shrink_as_images_grow() -> None:
    assert [grid_count(resolution) for resolution in (4, 128, 256, 512, 1024)] == [64, 64, 16, 4, 4]
