from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pgtools.errors import InputError
from pgtools.progan.checkpoint import Snapshot, write_snapshot
from pgtools.progan.config import Architecture
from pgtools.progan.generator import Generator
from pgtools.progan.sampling import GeneratorSource, grid_count, images_of, latents_of, open_generator, write_images
from pgtools.runtime import files

GENERATOR = Generator(Architecture(32, latent=8, fmap_base=128, fmap_max=16), seed=1).eval()


def images(*, count: int = 100, seed: int = 0, lod: float = 0.0, weights: Generator = GENERATOR) -> GeneratorSource:
    return GeneratorSource(Snapshot(weights, lod, 0), name="g", count=count, seed=seed)


def test_an_image_depends_on_seed_and_number_alone() -> None:
    whole = images().read(range(100))
    assert whole.shape == (100, 3, 32, 32)
    assert whole.std() > 10
    for chosen in ([7], [99, 7, 7, 3], range(60, 70)):
        # The convolutions sum in another order for another batch size: a value on the edge may round otherwise.
        difference = np.abs(images(count=500).read(chosen).astype(int) - whole[list(chosen)])
        assert difference.max() <= 1
        assert (difference > 0).mean() < 1e-3
    assert not np.array_equal(images(seed=1).read([7]), whole[[7]])


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

        def forward(self, latents: torch.Tensor, lod: float) -> torch.Tensor:
            return torch.tensor([-1.5, 0.0, 0.5, 1.5]).expand(1, 3, 4, 4)

    found = images_of(Constant(), torch.zeros(1, 1), 0.0)  # type: ignore[arg-type]
    assert found[0, 0, 0].tolist() == [0, 128, 191, 255]  # 127.5 rounds to the even 128


def test_the_fingerprint_names_what_makes_the_images() -> None:
    other = Generator(GENERATOR.shape, seed=2)
    sources = [images(), images(seed=1), images(count=99), images(lod=1.0), images(weights=other)]
    assert len({source.fingerprint() for source in sources}) == 5
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


def test_images_stay_until_others_are_in_their_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "fakes"
    write_images(images(count=3), folder)
    monkeypatch.setattr(files, "_swap_in", None)  # whatever fails in the last moment
    with pytest.raises(TypeError):
        write_images(images(count=2), folder)
    assert [file.name for file in tmp_path.iterdir()] == ["fakes"]
    assert len(list(folder.iterdir())) == 3


@pytest.mark.shared
def test_the_authors_pickle_is_a_source(shared: Path) -> None:
    found = open_generator(shared / "golden" / "karras-like-16.pkl", count=4)
    assert found.read(range(4)).shape == (4, 3, 16, 16)


def test_grids_shrink_as_images_grow() -> None:
    assert [grid_count(resolution) for resolution in (4, 128, 256, 512, 1024)] == [64, 64, 16, 4, 4]
