"""MS-SSIM of two sets, image by image: how near reconstructions are to their originals; higher is nearer."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import torch

from pgtools.errors import InputError
from pgtools.metrics.catalogue import MSSSIM_AGAINST
from pgtools.metrics.evaluate import Reading, environment
from pgtools.metrics.measure import shown_bar
from pgtools.metrics.msssim.measure import figures
from pgtools.metrics.msssim.score import check_side, ms_ssim
from pgtools.runtime.results import MetricResult
from pgtools.stores.source import ImageSource, content_hash, image_hash
from pgtools.stores.views import choose


def score_against(
    images: ImageSource, others: ImageSource, reading: Reading, device: torch.device, *, progress: bool = False
) -> MetricResult:
    """Return the mean MS-SSIM of the pairs (images[i], others[i]), with its standard error.

    Args:
        images: reconstructions, or whatever is to be near.
        others: what they should be near to, as many and of one size, in the same order.
        reading: which images, the same of both, and how many of each at once.
        device: where to compute.
        progress: show a bar on stderr.

    Raises:
        InputError: the sets differ in count or size, or are of a size without MS-SSIM.
    """
    _check_alike(images, others)
    wanted = reading.num_images or len(images)
    chosen = [choose(source, wanted, reading.seed) for source in (images, others)]
    known = [source.known_fingerprint() for source in chosen]
    hashes: tuple[list[str], list[str]] = ([], [])
    scores = np.empty(wanted)
    with shown_bar("comparing pairs", wanted, progress) as advance:
        for start in range(0, wanted, reading.batch):
            indices = range(start, min(start + reading.batch, wanted))
            batches = [source.read(indices) for source in chosen]
            for own, batch, fingerprint in zip(hashes, batches, known, strict=True):
                own.extend(image_hash(image) for image in batch if not fingerprint)
            a, b = (torch.from_numpy(batch).to(device) for batch in batches)
            scores[start : start + len(indices)] = ms_ssim(a, b).cpu().numpy()
            advance(len(indices))
    error = float(scores.std(ddof=1)) / wanted**0.5 if wanted > 1 else None
    fake, real = (
        {"name": source.name, "fingerprint": fingerprint or content_hash(own)}
        for source, fingerprint, own in zip(chosen, known, hashes, strict=True)
    )
    # The seed names the choice of images, so it says nothing where all are taken.
    seed = {"seed": reading.seed} if wanted < len(images) else {}
    return MetricResult(
        **asdict(figures(scores, error)),
        metric=MSSSIM_AGAINST.name,
        direction=MSSSIM_AGAINST.direction,
        protocol={
            "version": MSSSIM_AGAINST.version,
            "num_images": wanted,
            "resolution": images.resolution,
            **seed,
        },
        data={"real": real, "fake": fake},
        environment=environment(device),
    )


def _check_alike(images: ImageSource, others: ImageSource) -> None:
    check_side(images.resolution)
    if images.resolution != others.resolution:
        raise InputError(
            f"{images.name} has {images.resolution}² images, {others.name} {others.resolution}².",
            hint="Image i of one set is compared with image i of the other: both need one size.",
        )
    if len(images) != len(others):
        raise InputError(
            f"{images.name} has {len(images)} images, {others.name} {len(others)}.",
            hint="Image i of one set is compared with image i of the other: leave out the images that have no partner.",
        )
