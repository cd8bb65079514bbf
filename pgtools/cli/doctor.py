"""`pgtools doctor`: what a bug report needs."""

from __future__ import annotations

import click

from pgtools.cli._options import json_option
from pgtools.cli._output import print_json

PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "opencv-python",
    "pillow",
    "facexlib",
    "spandrel",
    "torch-fidelity",
    "lmdb",
    "h5py",
    "joblib",
)


@click.command(name="doctor", short_help="Versions, devices, weights, disk: what a bug report needs.")
@json_option
def command(as_json: bool) -> None:
    """Print versions, devices, weights found and free disk: what a bug report needs.

    \b
    Example:
      pgtools doctor > bug-report.txt
    """
    facts = {**_software(), **_hardware(), **_weights()}
    if as_json:
        print_json(facts)
        return
    width = max(map(len, facts)) + 2
    for name, value in facts.items():
        click.echo(f"{name + ':':<{width}}{value}")


def _software() -> dict[str, str]:
    import platform
    from importlib.metadata import PackageNotFoundError, version

    from pgtools import __version__

    found = {"pgtools": __version__, "python": platform.python_version(), "system": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "missing: install pgtools again with pip"
    return found


def _hardware() -> dict[str, str]:
    import shutil
    from pathlib import Path

    import torch

    from pgtools.runtime.files import human_bytes
    from pgtools.runtime.workers import cpu_count

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    cards = [torch.cuda.get_device_properties(i) for i in range(count)]
    return {
        "cores": str(cpu_count()),
        "cuda": ", ".join(f"{card.name} ({human_bytes(card.total_memory)})" for card in cards) or "no device",
        "free disk here": human_bytes(shutil.disk_usage(Path.cwd()).free),
    }


def _weights() -> dict[str, str]:
    from pgtools.errors import PgtoolsError
    from pgtools.models.registry import registry, user_registry
    from pgtools.models.weights import cache_folder, state_of

    found = {"weights in": str(cache_folder())}
    if user_registry().exists():
        found["your networks"] = str(user_registry())
    try:
        return {**found, **{model.name: state_of(model) for model in registry().values()}}
    except PgtoolsError as error:  # a report of what is wrong must not stop at the first thing that is
        return {**found, "registry": error.message}
