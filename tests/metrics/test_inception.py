"""Inception Score against torch-fidelity itself, on random weights in the form of the real ones."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from pgtools.errors import InputError
from pgtools.metrics.evaluate import score_inception
from pgtools.metrics.inception import inception_score, load_network, read_logits
from pgtools.metrics.settings import InceptionSettings
from tests.metrics.sets import ArraySource, photographs

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return photographs(12, 32)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, images: np.ndarray) -> Path:
    """Random layers, each scaled by its own statistics, so that the logits differ from image to image."""
    from torch_fidelity import FeatureExtractorInceptionV3

    class Blank(FeatureExtractorInceptionV3):
        def load_state_dict(self, *args: object, **words: object) -> None:
            """Keep the random weights."""

    nothing = io.BytesIO()
    torch.save({}, nothing)
    nothing.seek(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Blank("random", ["logits_unbiased"], feature_extractor_weights_path=nothing)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    network.train()
    with torch.no_grad():
        network(torch.from_numpy(images[:4]))
        network.fc.weight *= 20
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save(network.state_dict(), path)
    return path


def test_the_figure_is_torch_fidelitys(weights: Path, images: np.ndarray, capsys: pytest.CaptureFixture[str]):
    import torch_fidelity

    class Images(torch.utils.data.Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return len(images)

        def __getitem__(self, index: int) -> torch.Tensor:
            return torch.from_numpy(images[index])

    expected = torch_fidelity.calculate_metrics(
        input1=Images(), isc=True, cuda=False, batch_size=64, isc_splits=3, cache=False,
        feature_extractor_weights_path=weights, save_cpu_ram=True, verbose=False,
    )  # fmt: skip
    capsys.readouterr()
    found = score_inception(ArraySource(images), InceptionSettings(splits=3), weights, CPU)
    assert found.values["value"] == expected["inception_score_mean"]
    assert found.spread["value"] == expected["inception_score_std"]
    assert found.values["value"] > 1.05, "these weights tell no image from another"
    assert capsys.readouterr() == ("", "")


def test_the_batch_size_hardly_changes_the_logits(weights: Path, images: np.ndarray):
    network, some = load_network(weights, CPU), ArraySource(images[:3])
    one, all_ = (read_logits(some, network, batch=n, device=CPU, advance=lambda _: None) for n in (1, 3))
    torch.testing.assert_close(one, all_, rtol=1e-4, atol=1e-4)


def test_the_shuffle_is_by_the_seed():
    logits = torch.randn(30, 1008, generator=torch.Generator().manual_seed(0))
    settings = [InceptionSettings(splits=3, seed=seed) for seed in (2020, 2020, 1)]
    found = [inception_score(logits, each) for each in (*settings, InceptionSettings(splits=3, shuffle=False))]
    assert found[0] == found[1]
    assert len(set(found)) == 3


def test_sure_and_evenly_varied_images_score_their_number_of_classes():
    logits = 100 * torch.eye(1008)[:7].repeat(4, 1)
    settings = InceptionSettings(splits=2, shuffle=False)
    assert inception_score(logits, settings) == pytest.approx((7, 0), abs=1e-6)
    assert inception_score(torch.zeros(10, 1008), settings) == pytest.approx((1, 0), abs=1e-6)


def test_the_network_is_looked_at_before_the_splits_are_counted(weights: Path, tmp_path: Path):
    few = ArraySource(photographs(9, 32))
    with pytest.raises(InputError, match="9 images for 10 splits"):
        score_inception(few, InceptionSettings(), weights, CPU)
    with pytest.raises(InputError, match=r"absent\.pth is not the Inception-v3"):
        score_inception(few, InceptionSettings(), tmp_path / "absent.pth", CPU)


class Trap:
    """A hostile object: loading its pickle makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("kind", ["pickle", "hostile", "other weights", "no state", "text"])
def test_other_files_are_refused_and_not_run(kind: str, tmp_path: Path):
    path, sprung = tmp_path / "weights.pth", tmp_path / "sprung"
    contents = {"hostile": {"a": Trap(sprung)}, "other weights": {"conv": torch.zeros(3)}, "no state": [1, 2]}
    if kind in contents:
        torch.save(contents[kind], path)
    else:
        path.write_bytes(pickle.dumps(Trap(sprung), protocol=2) if kind == "pickle" else b"not weights")
    with pytest.raises(InputError, match="is not the Inception-v3 state dict") as caught:
        load_network(path, CPU)
    assert caught.value.hint.startswith("`pgtools models fetch inception")
    assert not sprung.exists()
