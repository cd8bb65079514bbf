"""The error of every step of SWD and MS-SSIM against the float64 twins of tests/reference."""

from __future__ import annotations

import functools
from collections.abc import Callable

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from tables import Row, Table

from pgtools.imaging.pyramid import mean_level
from pgtools.metrics.benchmark.plain import msssim as plain_msssim
from pgtools.metrics.benchmark.plain import swd as plain_swd
from pgtools.metrics.evaluate import Evaluator, Reading
from pgtools.metrics.msssim import ms_ssim, on_cpu, on_device
from pgtools.metrics.settings import SwdSettings
from pgtools.metrics.swd import pyramid
from pgtools.metrics.swd.descriptors import cut_patches
from pgtools.metrics.swd.distance import normalise
from pgtools.metrics.swd.draws import draw_directions, draw_positions
from pgtools.metrics.swd.measure import SwdMeasure
from pgtools.metrics.swd.projection import Normalised, project
from pgtools.metrics.swd.transport import mean_gaps
from tests.metrics.sets import ArraySource, photographs
from tests.pictures import photo_like
from tests.reference import msssim as twin_msssim
from tests.reference import swd as twin

Array = NDArray[np.float64]
CPU = torch.device("cpu")
SETTINGS = SwdSettings(neighbourhoods=32, repeats=2, directions=32, replicates=0)
COUNT, SMALLEST_DRAWN = 4, 64
SWD_SIDES, MSSSIM_SIDES = (16, 32, 64, 128, 256), (16, 32, 64, 128, 256, 512)


def swd_steps(sides: tuple[int, ...] = SWD_SIDES) -> Table:
    """Return the errors of each step on the images' own level, by the images' side."""
    found = [_steps_at(side) for side in sides]
    rows = tuple(
        Row(what, held, tuple(column[what][1] for column in found))
        for what, held in ((name, held) for name, (held, _) in found[-1].items())
    )
    return Table("swd-steps", tuple(f"{side}²" for side in sides), rows)


def swd_whole(sides: tuple[int, ...] = SWD_SIDES) -> Table:
    """Return the relative errors of the whole figure, by level, and by the images' side."""
    rows = []
    for side in sides:
        ours, plain, expected = _whole(side)
        for name, figures in (("pgtools", ours), ("plain route", plain)):
            errors = {level: abs(figures[level] / value - 1) for level, value in expected.items()}
            rows.append(Row(f"{side}², {name}", "≤ 1e-5", tuple(errors.get(level) for level in reversed(sides))))
    return Table("swd-whole", tuple(f"level {level}²" for level in reversed(sides)), tuple(rows))


def msssim_steps(sides: tuple[int, ...] = MSSSIM_SIDES) -> Table:
    """Return the absolute errors of MS-SSIM at each scale, and of the product, by the images' side."""
    columns = [_msssim_at(side) for side in sides]
    rows = tuple(Row(what, "≤ 1e-9", tuple(column[what] for column in columns)) for what in columns[0])
    return Table("msssim-steps", tuple(f"{side}²" for side in sides), rows)


def _steps_at(side: int) -> dict[str, tuple[str, float]]:
    """Return step → what it is held to, and its error."""
    images, others = photographs(COUNT, side, 1), photographs(COUNT, side, 2)
    floats = torch.from_numpy(images).float()
    exact = images.astype(np.float64)
    smaller, errors = _planes(twin.down, exact), []
    halved = [cv2.pyrDown(np.ascontiguousarray(x.transpose(1, 2, 0), np.float32)) for x in images]
    doubled = [cv2.pyrUp(np.ascontiguousarray(x.transpose(1, 2, 0), np.float32)) for x in smaller]
    found = {
        "halving, CPU": ("≤ 1e-4", _gap(np.stack(halved).transpose(0, 3, 1, 2), smaller)),
        "halving, GPU's way": ("≤ 1e-4", _gap(pyramid.down(floats), smaller)),
        "doubling, CPU": ("≤ 1e-4", _gap(np.stack(doubled).transpose(0, 3, 1, 2), _planes(twin.up, smaller))),
        "doubling, GPU's way": (
            "≤ 1e-4",
            _gap(pyramid.up(torch.from_numpy(smaller).float()), _planes(twin.up, smaller)),
        ),
    }
    bands = [twin.laplacian(x) for x in exact]
    here = [dict(pyramid.laplacian_levels_of(np.ascontiguousarray(x.transpose(1, 2, 0), np.float32))) for x in images]
    there = dict(pyramid.laplacian_levels(floats))
    for level in there:
        expected = np.stack([band[level] for band in bands])
        by_cpu = _gap(np.stack([x[level] for x in here]).transpose(0, 3, 1, 2), expected)
        errors.append((by_cpu, _gap(there[level], expected)))
    found["every level, CPU"], found["every level, GPU's way"] = (
        ("≤ 1e-4", max(each)) for each in zip(*errors, strict=True)
    )
    return {**found, **_descriptor_steps(there[side], images, others, side)}


def _descriptor_steps(
    band: torch.Tensor, images: NDArray[np.uint8], others: NDArray[np.uint8], side: int
) -> dict[str, tuple[str, float]]:
    size, centres = SETTINGS.size, draw_positions(side, COUNT, SETTINGS, "real")
    patches = cut_patches(band, torch.from_numpy(centres), size).flatten(0, 1)
    places = [(image, y - 3, x - 3) for image, each in enumerate(centres) for y, x in each]
    cut = np.stack([band[i, :, y : y + size, x : x + size].flatten().numpy() for i, y, x in places])
    a, b = (
        twin.describe(some, draw_positions(side, COUNT, SETTINGS, role), side, size).reshape(-1, patches.shape[1])
        for some, role in ((images, "real"), (others, "fake"))
    )
    directions = draw_directions(side, 0, SETTINGS)
    # Each step gets what the twin's step before it gave, rounded to float32, so that its error is its own.
    single = [each.astype(np.float32) for each in (a, b)]
    lines = [project(Normalised(each, np.zeros(3), np.ones(3)), directions, CPU) for each in single]
    exact = [each.astype(np.float64) @ directions.T for each in single]
    gaps = [
        np.abs(np.sort(p) - np.sort(q)).mean() for p, q in zip(*(x.numpy().astype(float) for x in lines), strict=True)
    ]
    found = mean_gaps(lines[0].clone(), lines[1].clone())
    return {
        "patches": ("equal", _gap(patches, cut)),
        "normalised": ("≤ 1e-4", _gap(normalise(patches), a)),
        "projected": ("≤ 1e-4", _gap(lines[0].T, exact[0])),
        "gap of the lines, relative": ("≤ 1e-6", float(np.max(np.abs(np.array(found) / gaps - 1)))),
    }


def _whole(side: int) -> tuple[dict[int, float], dict[int, float], dict[int, float]]:
    """Return level → SWD × 1000 by pgtools, by the plain route, and by the twin."""
    sets, levels = (
        {"real": photographs(COUNT, side, 1), "fake": photographs(COUNT, side, 2)},
        pyramid.pyramid_levels(side),
    )
    drawn = {
        level: [draw_directions(level, repeat, SETTINGS) for repeat in range(SETTINGS.repeats)] for level in levels
    }
    described, exact = [], []
    for role, images in sets.items():
        centres = {level: draw_positions(level, COUNT, SETTINGS, role) for level in levels}  # type: ignore[arg-type]
        described.append(plain_swd.describe([images], centres, SETTINGS.size))
        exact.append({level: twin.describe(images, centres[level], level, SETTINGS.size) for level in levels})
    with Evaluator([SwdMeasure(SETTINGS)], ArraySource(sets["real"]), Reading(), CPU) as evaluator:
        (result,) = evaluator.score(ArraySource(sets["fake"]))
    expected = {
        level: 1000 * float(np.mean([twin.distance(exact[0][level], exact[1][level], each) for each in drawn[level]]))
        for level in levels
    }
    ours = {level: result.values[str(level)] for level in levels}
    return ours, plain_swd.compare(described[0], described[1], drawn), expected


def _msssim_at(side: int) -> dict[str, float]:
    """Return scale or whole → the largest error over pairs that are alike, nearly unlike, and unlike."""
    a, b = pairs(side)
    planes = [torch.from_numpy(images).flatten(0, 1) for images in (a, b)]
    routes = {
        "CPU": on_cpu.similarities(planes[0].numpy(), planes[1].numpy()),
        "GPU's way": on_device.similarities(*planes).numpy(),
    }
    expected = np.array([_scales(p, q) for p, q in zip(a, b, strict=True)])
    found = {}
    for name, terms in routes.items():
        errors = np.abs(terms.reshape(len(a), 3, -1).mean(1) - expected).max(0)
        found |= {f"scale {scale + 1}, {name}": float(error) for scale, error in enumerate(errors)}
    whole = [twin_msssim.ms_ssim(p, q) for p, q in zip(a, b, strict=True)]
    found["MS-SSIM"] = _gap(ms_ssim(torch.from_numpy(a), torch.from_numpy(b)), np.array(whole))
    found["MS-SSIM, plain route"] = _gap(plain_msssim.ms_ssim(a, b), np.array(whole))
    return found


@functools.cache
def pairs(side: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return three pairs of drawn pictures, each less alike than the one before: uint8 (3, 3, R, R) twice."""
    a, others = (np.stack([_drawn(side, seed + number) for number in range(3)]) for seed in (0, 9))
    share = np.array([0.1, 0.5, 0.9])[:, None, None, None]
    return a, np.rint(a * (1 - share) + others * share).astype(np.uint8)


def _drawn(side: int, seed: int) -> NDArray[np.uint8]:
    image = photo_like(max(side, SMALLEST_DRAWN), max(side, SMALLEST_DRAWN), seed).transpose(2, 0, 1)
    return mean_level(np.ascontiguousarray(image), side)


def _scales(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> list[float]:
    found, p, q = [], a.astype(np.float64), b.astype(np.float64)
    for scale in range(5):
        full, contrast = twin_msssim.terms(p, q)
        found.append(full if scale == 4 else contrast)
        p, q = (
            (x.reshape(3, x.shape[1] // 2, 2, x.shape[2] // 2, 2).mean((2, 4)) for x in (p, q)) if scale < 4 else (p, q)
        )
    return found


def _planes(step: Callable[[Array], Array], images: Array) -> Array:
    return np.stack([np.stack([step(channel) for channel in image]) for image in images])


def _gap(found: object, expected: NDArray[np.floating]) -> float:
    return float(np.abs(np.asarray(found, np.float64) - np.asarray(expected, np.float64)).max())
