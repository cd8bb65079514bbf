"""The Inception network against torch-fidelity itself: all four metrics, one run of the network, hostile files."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from pgtools.errors import InputError
from pgtools.metrics.evaluate import Evaluator, Reading
from pgtools.metrics.inception import features
from pgtools.metrics.inception.features import Features
from pgtools.metrics.inception.measure import FidMeasure, InceptionScoreMeasure, KidMeasure, PrecisionRecallMeasure
from pgtools.metrics.inception.network import WIDTHS, NetworkFile, load_network, run
from pgtools.metrics.measure import Measure, SetOfImages
from pgtools.metrics.settings import FidSettings, InceptionSettings, KidSettings, PrecisionRecallSettings
from tests.metrics.sets import ArraySource, photographs

CPU = torch.device("cpu")


def four(network: NetworkFile) -> list[Measure]:
    return [
        InceptionScoreMeasure(InceptionSettings(splits=3, bootstrap=20), network),
        FidMeasure(FidSettings(layer="192"), network),
        KidMeasure(KidSettings(subsets=5, subset_size=4, layer="192"), network),
        PrecisionRecallMeasure(PrecisionRecallSettings(neighbourhood=2, layer="192", bootstrap=20), network),
    ]


def test_four_figures_are_torch_fidelitys_by_one_run_of_the_network(
    network: NetworkFile, images: np.ndarray, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    import torch_fidelity

    class Images(torch.utils.data.Dataset):  # type: ignore[type-arg]
        def __init__(self, images: np.ndarray) -> None:
            self.images = images

        def __len__(self) -> int:
            return len(self.images)

        def __getitem__(self, index: int) -> torch.Tensor:
            return torch.from_numpy(self.images[index])

    fake, real = images[:6], photographs(5, 32, 3)
    expected = torch_fidelity.calculate_metrics(
        input1=Images(fake), input2=Images(real), isc=True, fid=True, kid=True, prc=True,
        feature_extractor="inception-v3-compat", feature_layer_fid="192", feature_layer_kid="192",
        feature_layer_prc="192", cuda=False, isc_splits=3, kid_subsets=5, kid_subset_size=4, prc_neighborhood=2,
        cache=False, feature_extractor_weights_path=network.path, save_cpu_ram=True, verbose=False,
    )  # fmt: skip
    capsys.readouterr()
    seen = []
    monkeypatch.setattr(features, "run", lambda net, some: seen.append(len(some)) or run(net, some))
    with Evaluator(four(network), ArraySource(real), Reading(batch=64), CPU) as evaluator:
        score, fid, kid, shares = evaluator.score(ArraySource(fake))
    assert capsys.readouterr() == ("", "")
    assert seen == [5, 6]
    assert score.values == {"value": expected["inception_score_mean"]}
    assert score.scatter == {"over splits": {"value": expected["inception_score_std"]}}
    assert fid.values == {"value": expected["frechet_inception_distance"]}
    assert kid.values == {"value": expected["kernel_inception_distance_mean"]}
    assert kid.scatter == {"over subsets": {"value": expected["kernel_inception_distance_std"]}}
    wanted = {"precision": expected["precision"], "recall": expected["recall"], "f1": expected["f_score"]}
    assert shares.values == pytest.approx(wanted, abs=1e-12)
    assert score.values["value"] > 1.05 and fid.values["value"] > 0, "these weights tell no image from another"
    for result in (score, fid, kid, shares):
        assert result.protocol["weights"] == network.sha256
        assert set(result.spread) == set(result.interval) == set(result.values)
    assert fid.protocol["num_real"] == kid.protocol["num_real"] == 5
    assert "num_real" not in score.protocol
    assert fid.verdict["value"].startswith("6 images are fewer than 192 features")


def test_batch_and_order_hardly_change_the_features(network: NetworkFile, images: np.ndarray):
    some = torch.from_numpy(images[:3])
    whole = run(load_network(network.path, CPU), some)
    assert {layer: tuple(rows.shape) for layer, rows in whole.items()} == {k: (3, width) for k, width in WIDTHS.items()}
    collector = Features(network).begin(SetOfImages("set", "fake", 3, 32), CPU)
    for numbers in ([2], [1, 0]):
        collector.update(some[numbers], numbers)
    collector.finish()
    for layer, rows in whole.items():
        found = torch.from_numpy(collector.features(layer))
        torch.testing.assert_close(found, rows, rtol=0, atol=1e-4 * float(rows.abs().max()))


def test_a_training_around_changes_no_feature(network: NetworkFile, images: np.ndarray):
    some, loaded = torch.from_numpy(images[:1]), load_network(network.path, CPU)
    plain = run(loaded, some)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = run(loaded, some)
    assert all(torch.equal(plain[layer], inside[layer]) and not inside[layer].requires_grad for layer in WIDTHS)


def test_what_another_process_saw_is_absorbed(runs: list[int], images: np.ndarray):
    network = NetworkFile(Path("weights.pth"), "12" * 32)
    told = SetOfImages("set", "fake", 4, 32)
    here, there = (Features(network).begin(told, CPU) for _ in range(2))
    here.update(torch.from_numpy(images[[0, 2]]), [0, 2])
    there.update(torch.from_numpy(images[[3, 1]]), [3, 1])
    (piece,) = there.parts()
    rows = piece["2048"]
    assert rows[0].tolist() == [1, 3]
    here.absorb(piece)
    here.finish()
    assert np.array_equal(here.features("2048")[[1, 3]], rows[1])
    assert [len(piece["2048"][0]) for piece in here.parts()] == [4]


def test_too_few_images_are_told_before_the_network_runs(
    network: NetworkFile, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(features, "run", lambda *_: pytest.fail("the network ran"))
    wanted = {
        InceptionScoreMeasure(InceptionSettings(), network): "9 images for 10 splits",
        KidMeasure(KidSettings(), network): "Found 9 images; a subset of the kernel distance takes 1000",
        PrecisionRecallMeasure(PrecisionRecallSettings(neighbourhood=9), network): "takes at least 10",
    }
    for measure, said in wanted.items():
        source = ArraySource(images[:9])
        with pytest.raises(InputError, match=said) as caught:
            Evaluator([measure], ArraySource(images), Reading(), CPU).score(source)
        assert caught.value.hint
        assert source.reads == 0
    assert "--subset-size 9" in _hint_of(KidMeasure(KidSettings(), network), images)


def _hint_of(measure: Measure, images: np.ndarray) -> str:
    with pytest.raises(InputError) as caught:
        measure.check(len(images), 9)
    return caught.value.hint


def test_weights_that_give_no_numbers_are_told(network: NetworkFile, images: np.ndarray, tmp_path: Path):
    state = torch.load(network.path, weights_only=True)
    state["Conv2d_1a_3x3.conv.weight"].fill_(float("nan"))
    torch.save(state, tmp_path / "nan.pth")
    measure = InceptionScoreMeasure(InceptionSettings(splits=1), NetworkFile.of(tmp_path / "nan.pth"))
    with pytest.raises(InputError, match="no finite numbers"):
        Evaluator([measure], None, Reading(), CPU).score(ArraySource(images[:1]))


class Trap:
    """A hostile object: loading its pickle makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("kind", ["pickle", "hostile", "other weights", "no state", "text", "absent"])
def test_other_files_are_refused_and_not_run(kind: str, tmp_path: Path):
    path, sprung = tmp_path / "weights.pth", tmp_path / "sprung"
    contents = {"hostile": {"a": Trap(sprung)}, "other weights": {"conv": torch.zeros(3)}, "no state": [1, 2]}
    if kind in contents:
        torch.save(contents[kind], path)
    elif kind != "absent":
        path.write_bytes(pickle.dumps(Trap(sprung), protocol=2) if kind == "pickle" else b"not weights")
    with pytest.raises(InputError, match="is not the Inception-v3 state dict") as caught:
        load_network(NetworkFile.of(path).path, CPU)
    assert caught.value.hint.startswith("`pgtools models fetch inception")
    assert not sprung.exists()


@pytest.mark.parametrize(
    "content",
    [b"hello", b"", b"q\x01", b"\x80\x02" + b"]" * 5000 + b".", b"\x1f\x8b123", b"a,b\n1,2\n", b"%PDF-1.4"],
    ids=lambda content: str(content[:9]),
)
def test_garbage_is_refused_in_one_line(content: bytes, tmp_path: Path):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is not the Inception-v3 state dict") as caught:
        load_network(path, CPU)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("error", [KeyError, IndexError, struct.error, AssertionError, OverflowError])
def test_whatever_torch_raises_is_one_line(error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object, **__: object) -> None:
        raise error("reason")

    monkeypatch.setattr(torch, "load", fail)
    with pytest.raises(InputError, match="is not the Inception-v3 state dict"):
        load_network(tmp_path / "weights.pth", CPU)
