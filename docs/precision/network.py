"""Figures on the Inception network, against torch-fidelity itself and torchmetrics, on random weights."""

from __future__ import annotations

import contextlib
import io
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from tables import Row, Table

from pgtools.metrics.evaluate import Evaluator, Reading
from pgtools.metrics.inception.measure import FidMeasure, InceptionScoreMeasure, KidMeasure, PrecisionRecallMeasure
from pgtools.metrics.inception.network import NetworkFile, run, shared_network
from pgtools.metrics.settings import FidSettings, InceptionSettings, KidSettings, PrecisionRecallSettings
from tests.metrics.inception.weights import write_random_weights
from tests.metrics.sets import ArraySource, photographs

with warnings.catch_warnings():
    # Importing it puts its own filters before the user's; this takes them back.
    import torch_fidelity

CPU = torch.device("cpu")
# The eigenvalues of the covariances of 2048 features take minutes, and say nothing more about equality.
LAYER = "192"
IMAGES, SIDE, SPLITS, SUBSETS, SUBSET, NEIGHBOURS = 12, 32, 3, 5, 8, 3


def tables() -> list[Table]:
    """Return both tables; takes a minute and no weights from outside."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weights = write_random_weights(Path(folder) / "weights.pth", photographs(4, SIDE))
        return [fidelity_table(weights), resize_table(weights)]


def fidelity_table(weights: Path) -> Table:
    """Return how far our figures are from torch-fidelity's on the same images and weights."""
    real, fake = photographs(IMAGES, SIDE, 1), photographs(IMAGES, SIDE, 2) // 2
    network = NetworkFile.of(weights)
    measures = [
        InceptionScoreMeasure(InceptionSettings(splits=SPLITS, bootstrap=0), network),
        FidMeasure(FidSettings(layer=LAYER, errors=False), network),
        KidMeasure(KidSettings(layer=LAYER, subsets=SUBSETS, subset_size=SUBSET, errors=False), network),
        PrecisionRecallMeasure(PrecisionRecallSettings(layer=LAYER, bootstrap=0), network),
    ]
    with Evaluator(measures, ArraySource(real), Reading(), CPU) as evaluator:
        score, fid, kid, both = (result.values for result in evaluator.score(ArraySource(fake)))
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        theirs = torch_fidelity.calculate_metrics(
            input1=_Images(fake), input2=_Images(real), isc=True, fid=True, kid=True, prc=True, cuda=False,
            feature_extractor="inception-v3-compat", feature_layer_fid=LAYER, feature_layer_kid=LAYER,
            feature_layer_prc=LAYER, batch_size=64, isc_splits=SPLITS, kid_subsets=SUBSETS, kid_subset_size=SUBSET,
            prc_neighborhood=NEIGHBOURS, cache=False, feature_extractor_weights_path=weights,
            save_cpu_ram=True, verbose=False,
        )  # fmt: skip
    compared = {
        "Inception Score": (score["value"], "inception_score_mean"),
        "FID": (fid["value"], "frechet_inception_distance"),
        "KID": (kid["value"], "kernel_inception_distance_mean"),
        "precision": (both["precision"], "precision"),
        "recall": (both["recall"], "recall"),
    }
    rows = [Row(name, "equal", (abs(ours - theirs[key]),)) for name, (ours, key) in compared.items()]
    return Table("torch-fidelity", ("difference",), tuple(rows))


def resize_table(weights: Path) -> Table:
    """Return how far torchmetrics' features of the same network are, relative to their spread over images."""
    from torchmetrics.image.fid import NoTrainInceptionV3

    images = torch.from_numpy(photographs(3, SIDE, 1))
    ours = run(shared_network(NetworkFile.of(weights), CPU), images)["2048"]
    rows = []
    large = torch.from_numpy(photographs(3, 400, 1))
    ours_large = run(shared_network(NetworkFile.of(weights), CPU), large)["2048"]
    for name, antialias, held, note in (
        ("torchmetrics' default", True, "≥ 1e-3", "another resize to 299²: bilinear with antialiasing"),
        ("antialias=False", False, "≤ 1e-6", "TensorFlow's bilinear resize, as ours"),
    ):
        network = NoTrainInceptionV3("inception-v3-compat", ["2048"], str(weights), antialias=antialias)
        with torch.no_grad():
            gaps = [_relative(network(x), y) for x, y in ((images, ours), (large, ours_large))]
        rows.append(Row(name, held, tuple(gaps), note))
    return Table("torchmetrics-network", (f"{SIDE}²", "400²"), tuple(rows))


class _Images(torch.utils.data.Dataset):  # type: ignore[type-arg]
    def __init__(self, images: np.ndarray) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(self.images[index])


def _relative(theirs: torch.Tensor, ours: torch.Tensor) -> float:
    return float((theirs - ours).abs().mean() / ours.std(0).mean())
