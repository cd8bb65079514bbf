"""Measures how exact every metric is and writes docs/precision.md.

`report.py --shared DIR` measures all of it, in some minutes. `report.py --check` measures again what takes seconds,
compares it with the page, and fails if the page says anything else; it leaves out what needs libraries or files that
are not there.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
# The twins, and the images that the tests measure on too.
sys.path.insert(0, str(ROOT))

import golden  # noqa: E402
import libraries  # noqa: E402
import steps  # noqa: E402
from tables import Table, differences  # noqa: E402

from pgtools.runtime.files import written_aside  # noqa: E402

PAGE = ROOT / "docs" / "precision.md"
SHARED = Path(os.environ.get("PGTOOLS_SHARED", ROOT.parent / "shared"))
QUICK = (16, 64)

TEXT = """<!-- Made by docs/precision/report.py (`make precision`); edits are lost. -->
# Precision

How far every figure is from its definition, from the authors' code, and from what other libraries say, and why those
differ. Every number is measured by the program that writes this page, on a CPU, and every reason given is tested by
it: with the difference undone, the other library agrees. Rounding differs from one processor to the next, so numbers
are told to one digit; under 1e-12 their size says nothing. "equal" means equal in every bit.

## SWD, step by step

Against a float64 twin written from the definition (`tests/reference/swd.py`), the largest error of each step, by the
images' side, on crops of a photograph. Halving, doubling and levels are on the 0…255 scale, descriptors have
deviation 1. The CPU's way is OpenCV, the GPU's way torch, here run on the CPU.

{swd-steps}

The binomial's weights are powers of two by small integers, so in float32 the first halving and doubling of whole
numbers are exact; from the third level on the last bits are rounded. The projection, 147 products in float32, has the
largest error, and it has no direction: over thousands of sorted numbers it averages out.

The whole figure, relative to the twin's, given the same patches and directions:

{swd-whole}

## MS-SSIM, scale by scale

Against the float64 twin (`tests/reference/msssim.py`), absolute, on pairs of drawn pictures that are alike, less alike
and nearly unlike:

{msssim-steps}

All of it is in float64: a scale's mean contrast near 0 is raised to a power as small as 0.0448, whose slope has no
bound there.

## The authors' code

Their released code on 64 real and 64 degraded images. For SWD both sides are means over seeds, ours over {seeds}, and
the table tells their gap in standard errors (0.1 is 0.1 or less):

{authors}

## torch-fidelity

Inception Score, FID, KID, precision and recall are torch-fidelity's own functions on its own network. Here
`torch_fidelity.calculate_metrics` and pgtools measure {images} crops against as many darkened ones, on random weights
and, all but the score, on the layer of 192 features:

{torch-fidelity}

## Which sizes MS-SSIM takes

{smallest}

Both others keep the 11×11 window at every scale, so the smallest of the five scales must have room for it. The
definition used here lets the window shrink with the image, as the authors' code does (32² and 64² above).

## pytorch-msssim

MS-SSIM of pairs at 256², absolute. It multiplies the scales of each colour channel and averages the products; the
definition averages the channels at each scale and multiplies the means.

{pytorch-msssim}

## torchmetrics

MS-SSIM and SSIM at 256², absolute:

{torchmetrics-ssim}

Its other metrics can take our features in place of images; relative:

{torchmetrics-features}

Handed images, its network resizes them in another way by default. Features of the last pooling, mean difference over
their standard deviation, for small and for large images (random weights):

{torchmetrics-network}

## scikit-image

It has no MS-SSIM; SSIM at one scale, 256², absolute:

{scikit-image}

Compared: {names}.
"""


def main(words: list[str] | None = None) -> None:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="fail if the page does not say what is measured")
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder with golden/metrics.npz and metrics.json")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page that is written or checked")
    chosen = parser.parse_args(words)
    if chosen.check:
        wrong = check(chosen.page.read_text("utf-8"))
        sys.exit("\n".join((f"{chosen.page}: not what is measured.", *wrong)) if wrong else 0)
    if not (chosen.shared / "golden" / "metrics.npz").is_file():
        parser.error(f"{chosen.shared} has no golden/metrics.npz; name the folder by --shared")
    tables = measure(chosen.shared)
    if broken := [line for table in tables for line in table.broken()]:
        sys.exit("\n".join(broken))
    with written_aside(chosen.page) as aside:
        aside.write_text(page(tables), encoding="utf-8")


def measure(shared: Path) -> list[Table]:
    """Return all tables of the page."""
    import network

    own = [steps.swd_steps(), steps.swd_whole(), steps.msssim_steps(), golden.table(shared)]
    return [*own, *libraries.tables(), *network.tables()]


def page(tables: list[Table]) -> str:
    """Return the page with its tables."""
    import network

    text = TEXT
    for table in tables:
        text = text.replace(f"{{{table.name}}}", table.markdown())
    told = {"seeds": golden.SEEDS, "images": network.IMAGES, "names": libraries.names()}
    for name, value in told.items():
        text = text.replace(f"{{{name}}}", str(value))
    return text


def check(text: str) -> list[str]:
    """Return where the page is wrong, of what takes seconds to measure."""
    quick: list[Callable[[], Table]] = []
    if importlib.util.find_spec("pytorch_msssim"):
        quick.append(libraries.pytorch_msssim_table)
    if importlib.util.find_spec("torchmetrics"):
        quick += [libraries.torchmetrics_ssim_table, libraries.torchmetrics_features_table]
    if importlib.util.find_spec("skimage"):
        quick.append(libraries.scikit_image_table)
    own = (steps.swd_steps(QUICK), steps.swd_whole(QUICK), steps.msssim_steps(QUICK))
    with warnings.catch_warnings():
        # torchmetrics warns of the memory that features take.
        warnings.simplefilter("ignore")
        tables = [*own, *(make() for make in quick)]
    return [line for table in tables for line in differences(table, text)]


if __name__ == "__main__":
    main()
