import numpy as np
import pytest
import safetensors.torch
import torch

from pgtools.celebahq.build import build
from pgtools.celebahq.restore import ImageNetwork
from pgtools.celebahq.settings import BuildSettings
from pgtools.demo.faces import write_faces
from pgtools.errors import InputError, UsageError
from tests.pictures import smooth_images


def compact_network(scale: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random weights of Real-ESRGAN's compact architecture with two inner layers: the smallest that spandrel knows."""
    torch.manual_seed(seed)
    layers = {"body.0": (8, 3), "body.2": (8, 8), "body.4": (8, 8), "body.6": (3 * scale * scale, 8)}
    state = {f"{name}.weight": torch.randn((*shape, 3, 3)) * 0.1 for name, shape in layers.items()}
    state |= {f"{name}.bias": torch.zeros(shape[0]) for name, shape in layers.items()}
    return state | {f"body.{i}.weight": torch.full((8,), 0.2) for i in (1, 3, 5)}


@pytest.fixture
def weights(tmp_path):
    def save(scale: int, name: str = "net.pth"):
        path = tmp_path / name
        if path.suffix == ".safetensors":
            safetensors.torch.save_file(compact_network(scale), path)
        else:
            torch.save({"params": compact_network(scale)}, path)
        return path

    return save


def picture(height: int, width: int) -> np.ndarray:
    return np.ascontiguousarray(smooth_images(1, 128)[0].transpose(1, 2, 0)[:height, :width])


@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 33), (100, 64), (65, 128)])
def test_tiles_do_not_show(weights, height: int, width: int) -> None:
    path, image = weights(4), picture(height, width)
    whole, scale = ImageNetwork(path, device="cpu", tile=512)(image)
    tiled, _ = ImageNetwork(path, device="cpu", tile=32)(image)
    assert scale == 4
    assert whole.shape == (4 * height, 4 * width, 3)
    assert np.abs(whole.astype(int) - tiled).max() <= 1


def test_both_kinds_of_file_give_the_same(weights) -> None:
    image = picture(20, 20)
    one, _ = ImageNetwork(weights(1), device="cpu", tile=64)(image)
    two, _ = ImageNetwork(weights(1, "net.safetensors"), device="cpu", tile=64)(image)
    np.testing.assert_array_equal(one, two)


def test_what_is_no_network_is_refused(tmp_path) -> None:
    path = tmp_path / "w.pth"
    for content in (b"", b"hello"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"w\.pth is no network"):
            ImageNetwork(path, device="cpu", tile=64).load()
    torch.save({"x": torch.zeros(1)}, path)
    with pytest.raises(InputError, match=r"w\.pth is no network"):
        ImageNetwork(path, device="cpu", tile=64).load()


def test_a_file_with_code_in_it_is_refused(tmp_path) -> None:
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"params": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(InputError, match="is no network"):
        ImageNetwork(tmp_path / "evil.pth", device="cpu", tile=64).load()
    assert not (tmp_path / "ran").exists()


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces") / "celeba"
    write_faces(folder, count=2, seed=5, layout="aligned")
    return folder


def test_a_build_runs_the_networks(faces, weights, tmp_path) -> None:
    restore, superres = weights(1, "restore.pth"), weights(4, "superres.pth")
    plain = BuildSettings(resolution=256, workers=1)
    networks = BuildSettings(resolution=256, workers=1, restore=str(restore), superres=str(superres))
    build(faces, [tmp_path / "plain.lmdb"], plain)
    build(faces, [tmp_path / "networks.lmdb"], networks)
    bytes_of = [(tmp_path / name / "data.mdb").read_bytes() for name in ("plain.lmdb", "networks.lmdb")]
    assert bytes_of[0] != bytes_of[1]


def test_a_network_in_the_wrong_place_is_told_before_the_first_photo(faces, weights, tmp_path) -> None:
    with pytest.raises(UsageError, match="enlarges 4 times"):
        build(faces, [tmp_path / "a.lmdb"], BuildSettings(restore=str(weights(4))))
    with pytest.raises(UsageError, match="does not enlarge"):
        build(faces, [tmp_path / "a.lmdb"], BuildSettings(superres=str(weights(1))))
    with pytest.raises(InputError, match="is no network"):
        build(faces, [tmp_path / "a.lmdb"], BuildSettings(superres="nonsense"))
    assert list(tmp_path.glob("a.lmdb*")) == []
