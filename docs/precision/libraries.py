"""What other libraries give on the same images, and for each difference its reason: with it undone, they agree."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from steps import pairs
from tables import Row, Table
from torch import Tensor

from pgtools.errors import InputError
from pgtools.imaging.ssim import blur, contrast_term, gaussian, luminance_term, moments
from pgtools.metrics.inception import scores
from pgtools.metrics.msssim import ms_ssim
from pgtools.metrics.msssim.scales import WEIGHTS
from pgtools.metrics.settings import InceptionSettings, KidSettings

SIDE = 256
EXACT, APART = "≤ 1e-12", "≥ 1e-5"
IMAGES, SPLITS = 60, 5


def names() -> str:
    """Return the libraries and the versions that are compared, as a sentence's part."""
    found = []
    for name in ("torch-fidelity", "torchmetrics", "pytorch-msssim", "scikit-image"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} (not installed)")
    return ", ".join(found)


def pytorch_msssim_table() -> Table:
    """Return what pytorch-msssim gives, at 256² and where it refuses."""
    import pytorch_msssim

    a, b = (torch.from_numpy(images) for images in pairs(SIDE))
    grey_a, grey_b = (images.flatten(0, 1)[:, None] for images in (a, b))

    def theirs(p: Tensor, q: Tensor, **words: object) -> Tensor:
        return pytorch_msssim.ms_ssim(p, q, data_range=255, size_average=False, **words)

    ours, ours_grey = ms_ssim(a, b), ms_ssim(grey_a, grey_b)
    window = torch.tensor(gaussian(11, 1.5), dtype=torch.float64).view(1, 1, 1, 11)
    rows = (
        _row(
            "float32", APART, theirs(a.float(), b.float()), ours, "a product of scales for each channel, then the mean"
        ),
        _row("float64", APART, theirs(a.double(), b.double()), ours, "the same"),
        _row(
            "our channels one by one, then their mean",
            "≤ 1e-5",
            theirs(a.double(), b.double()),
            ours_grey.view(-1, 3).mean(1),
            "their window is rounded to float32",
        ),
        _row(
            "the same, their window in float64",
            EXACT,
            theirs(grey_a.double(), grey_b.double(), win=window),
            ours_grey,
            "nothing is left",
        ),
    )
    return Table("pytorch-msssim", ("difference",), rows)


def torchmetrics_ssim_table() -> Table:
    """Return what torchmetrics gives for MS-SSIM and SSIM at 256²."""
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as theirs
    from torchmetrics.functional.image import structural_similarity_index_measure as their_ssim

    a, b = (torch.from_numpy(images).double() for images in pairs(SIDE))
    ours = ms_ssim(a, b)
    _, full = their_ssim(a, b, data_range=255.0, return_full_image=True)
    narrow = 100 + a / 4, 100 + b / 4
    rows = (
        _row(
            "MS-SSIM, float32", APART, theirs(a.float(), b.float(), data_range=255.0, reduction="none"), ours, "padding"
        ),
        _row(
            "MS-SSIM, float64",
            APART,
            theirs(a, b, data_range=255.0, reduction="none"),
            ours,
            "at the last scale it averages a mirrored border too; contrast is cropped to valid pixels",
        ),
        _row("the last scale cropped", EXACT, _cropped(a, b), ours, "nothing is left"),
        _row(
            "no range given, contrast reduced to a quarter",
            APART,
            theirs(*narrow, reduction="none"),
            theirs(*narrow, data_range=255.0, reduction="none"),
            "it reads the range off the images",
        ),
        _row("SSIM", APART, full.mean((1, 2, 3)), _ssim(a, b), "a mirrored border is averaged too"),
        _row("SSIM, its map cropped", EXACT, full[..., 5:-5, 5:-5].mean((1, 2, 3)), _ssim(a, b), "nothing is left"),
    )
    return Table("torchmetrics-ssim", ("difference",), rows)


def scikit_image_table() -> Table:
    """Return what scikit-image gives for SSIM at one scale."""
    from skimage.metrics import structural_similarity

    images = pairs(SIDE)
    ours = _ssim(*map(torch.from_numpy, images))

    def theirs(**words: object) -> NDArray[np.float64]:
        every = {"channel_axis": 0, "data_range": 255, **words}
        return np.array([structural_similarity(p, q, **every) for p, q in zip(*images, strict=True)])

    window = {"gaussian_weights": True, "sigma": 1.5}
    rows = (
        _row("defaults", APART, theirs(), ours, "a flat 7×7 window"),
        _row("Gaussian window of σ 1.5", APART, theirs(**window), ours, "variances divided by n − 1 (n = 121)"),
        _row(
            "and variances divided by n", EXACT, theirs(**window, use_sample_covariance=False), ours, "nothing is left"
        ),
    )
    return Table("scikit-image", ("difference",), rows)


def refusals() -> Table:
    """Return the smallest side that each library's MS-SSIM takes, tried out; pgtools takes powers of two."""
    import pytorch_msssim
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as tm_ms_ssim

    rows = []
    tried: dict[str, tuple[int, Callable[[Tensor], object]]] = {
        "pgtools": (16, lambda x: ms_ssim(x, x)),
        "pytorch-msssim": (161, lambda x: pytorch_msssim.ms_ssim(x, x, data_range=255)),
        "torchmetrics": (176, lambda x: tm_ms_ssim(x, x, data_range=255.0)),
    }
    for name, (known, measure) in tried.items():
        taken = [side for side in (16, 32, 64, 128, 160, 161, 175, 176, 256) if _takes(measure, side)]
        rows.append(Row(name, f"= {known}", (float(min(taken)),)))
    return Table("smallest", ("smallest side",), tuple(rows))


def torchmetrics_features_table() -> Table:
    """Return what torchmetrics makes of the same features, handed to it in place of images."""
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.inception import InceptionScore
    from torchmetrics.image.kid import KernelInceptionDistance

    real, fake = _features()
    rows = []
    doubles = [torch.from_numpy(each).double() for each in (real, fake)]
    ours, exact = (
        scores.frechet_distance(*(scores.feature_statistics(each.astype(kind)) for each in (fake, real)))
        for kind in (np.float32, np.float64)
    )
    for name, dtype, expected, held, note in (
        ("FID", torch.float32, ours, "≤ 1e-6", "its result is rounded to float32"),
        ("FID, theirs of float64 features", torch.float64, ours, "≤ 1e-6", "our mean, torch-fidelity's, is in float32"),
        ("FID, both of float64 features", torch.float64, exact, "≤ 1e-11", "nothing is left"),
    ):
        theirs = FrechetInceptionDistance(feature=_Through(real.shape[1]))
        for each, is_real in ((real, True), (fake, False)):
            theirs.update(torch.from_numpy(each).to(dtype), real=is_real)
        rows.append(Row(name, held, (abs(float(theirs.compute()) / expected - 1),), note))
    for name, size, kind, held, note in (
        ("KID, subsets of 30", 30, np.float32, APART, "subsets are drawn from torch's global state"),
        ("KID, subsets of all images", IMAGES, np.float32, "≤ 1e-6", "ours is in float32, as torch-fidelity's"),
        ("the same, ours of float64 features", IMAGES, np.float64, "≤ 1e-11", "nothing is left"),
    ):
        theirs = KernelInceptionDistance(feature=_Through(real.shape[1]), subsets=20, subset_size=size)
        for each, is_real in zip(doubles, (True, False), strict=True):
            theirs.update(each, real=is_real)
        settings = KidSettings(subsets=20, subset_size=size)
        ours, _ = scores.kernel_distance(fake.astype(kind), real.astype(kind), settings)
        rows.append(_seeded_row(name, held, lambda t=theirs: t.compute()[0], ours, note))
    return Table("torchmetrics-features", ("relative difference",), (*rows, *_inception_rows(fake, InceptionScore)))


def _inception_rows(features: NDArray[np.float32], metric: Callable[..., object]) -> list[Row]:
    def theirs(splits: int, seed: int) -> tuple[Tensor, Tensor]:
        measure = metric(feature=_Through(features.shape[1]), splits=splits)
        measure.update(torch.from_numpy(features).double())
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return measure.compute()

    with torch.random.fork_rng():
        torch.manual_seed(0)
        shuffled = features[torch.randperm(len(features)).numpy()]
    one = scores.inception_score(features, InceptionSettings(splits=1))[0]
    ours = scores.inception_score(features, InceptionSettings(splits=SPLITS))[0]
    same, deviation = scores.inception_score(shuffled, InceptionSettings(splits=SPLITS, shuffle=False))
    mean, spread = (float(each) for each in theirs(SPLITS, 0))
    corrected = deviation * (SPLITS / (SPLITS - 1)) ** 0.5
    return [
        Row("Inception Score, 1 split", EXACT, (abs(float(theirs(1, 0)[0]) / one - 1),), "the order does not count"),
        Row("Inception Score, 5 splits", APART, (abs(mean / ours - 1),), "shuffled by torch's global state"),
        Row("the same, by their shuffle", EXACT, (abs(mean / same - 1),), "nothing is left"),
        Row("its deviation", APART, (abs(spread / deviation - 1),), "divided by splits − 1; ours by splits"),
        Row("the same, ours by splits − 1", EXACT, (abs(spread / corrected - 1),), "nothing is left"),
    ]


class _Through(torch.nn.Module):
    """A network that gives back what it gets: features take the place of images."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.num_features = features

    def forward(self, images: Tensor) -> Tensor:
        return images


def _features() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return two sets of features that differ, float32 (N, 16) each."""
    rng = np.random.default_rng(0)
    real, fake = rng.normal(0, 1, (IMAGES, 16)), rng.normal(0.3, 1.2, (IMAGES, 16))
    return real.astype(np.float32), fake.astype(np.float32)


def _cropped(a: Tensor, b: Tensor) -> Tensor:
    """Return torchmetrics' MS-SSIM put together from its own terms, the last one cropped to valid pixels."""
    from torchmetrics.functional.image.ssim import _ssim_update

    score = torch.ones(len(a), dtype=a.dtype)
    for weight in WEIGHTS[:-1]:
        _, contrast = _ssim_update(a, b, data_range=255.0, return_contrast_sensitivity=True)
        score *= contrast.clamp(min=0) ** weight
        a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
    _, full = _ssim_update(a, b, data_range=255.0, return_full_image=True)
    return score * full[..., 5:-5, 5:-5].mean((1, 2, 3)).clamp(min=0) ** WEIGHTS[-1]


def _ssim(a: Tensor, b: Tensor) -> Tensor:
    """Return our SSIM at one scale, (N,)."""
    blurred = blur(moments(a.double(), b.double()), gaussian(11, 1.5))
    return (contrast_term(blurred) * luminance_term(blurred)).mean((1, 2, 3))


def _takes(measure: Callable[[Tensor], object], side: int) -> bool:
    images = torch.from_numpy(pairs(SIDE)[0])[..., :side, :side].float()
    try:
        measure(images)
    except (InputError, ValueError, AssertionError):
        return False
    return True


def _row(what: str, held: str, theirs: object, ours: object, note: str) -> Row:
    gap = np.abs(np.asarray(theirs, np.float64) - np.asarray(ours, np.float64)).max()
    return Row(what, held, (float(gap),), note)


def _seeded_row(what: str, held: str, compute: Callable[[], Tensor], ours: float, note: str) -> Row:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Row(what, held, (abs(float(compute()) / ours - 1),), note)


def tables() -> list[Table]:
    """Return all tables of this page's part."""
    with warnings.catch_warnings():
        # torchmetrics warns of the memory that features take.
        warnings.simplefilter("ignore")
        return [
            refusals(),
            pytorch_msssim_table(),
            torchmetrics_ssim_table(),
            scikit_image_table(),
            torchmetrics_features_table(),
        ]
