"""`from pgtools.metrics import …`: all that is promised is there, light to import, and documented."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import pgtools.metrics
from tests.metrics.sets import photographs


@pytest.mark.parametrize("name", pgtools.metrics.__all__)
def test_every_name_is_there_and_documented(name: str) -> None:
    found = getattr(pgtools.metrics, name)
    assert name == "CATALOGUE" or (found.__doc__ and found.__name__ == name)


def test_the_names_are_those_that_type_checkers_see() -> None:
    tree = ast.parse(Path(pgtools.metrics.__file__).read_text(encoding="utf-8"))
    (guarded,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        alias.name: node.module for node in guarded.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert sorted(seen) == sorted(pgtools.metrics.__all__) == sorted(pgtools.metrics._HOME_OF)
    assert seen == pgtools.metrics._HOME_OF
    assert dir(pgtools.metrics) == sorted(pgtools.metrics.__all__)


def test_no_name_is_that_of_a_module_inside() -> None:
    # Importing pgtools.metrics.swd.measure would put the module in the place of a function `swd`.
    inside = {path.stem for path in Path(pgtools.metrics.__file__).parent.iterdir()}
    assert inside.isdisjoint(pgtools.metrics.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'swdd'"):
        pgtools.metrics.swdd  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name"):
        from pgtools.metrics import swdd  # noqa: F401


def test_importing_the_package_and_its_settings_loads_nothing_heavy() -> None:
    code = (
        "import sys; import pgtools.metrics, pgtools.metrics.settings, pgtools.metrics.catalogue;"
        "sys.exit(str([name for name in ('numpy', 'torch', 'cv2', 'scipy') if name in sys.modules] or '') or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_functions_on_tensors_compute() -> None:
    from pgtools.metrics import (
        feature_statistics,
        frechet_distance,
        kernel_distance,
        laplacian_levels,
        ms_ssim,
        normalise,
        precision_recall,
        sliced_wasserstein,
    )
    from pgtools.metrics.settings import KidSettings

    images = torch.from_numpy(photographs(6, 32, 1))
    assert [level for level, _ in laplacian_levels(images.float())] == [32, 16]
    torch.testing.assert_close(torch.as_tensor(ms_ssim(images, images)), torch.ones(6, dtype=torch.float64))
    numbers = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 50, 12, generator=numbers)
    directions = torch.eye(12, dtype=torch.float64)
    sorted_gap = (a.sort(0).values - b.sort(0).values).abs().mean()
    assert sliced_wasserstein(a, b, directions) == pytest.approx(float(sorted_gap), rel=1e-5)
    assert float(normalise(a).mean()) == pytest.approx(0, abs=1e-6)
    first, second = a.numpy(), (b + 3).numpy()
    assert frechet_distance(feature_statistics(first), feature_statistics(second)) > 9 * 12 / 2
    assert kernel_distance(first, second, KidSettings(subset_size=40))[0] > 0
    precision, recall = precision_recall(first, second)[:2]
    assert np.isfinite([precision, recall]).all() and precision < 0.5
