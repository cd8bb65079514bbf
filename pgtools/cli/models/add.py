"""`pgtools models add`: a network of the user's own gets a name."""

from __future__ import annotations

from pathlib import Path

import click

from pgtools.cli._options import SOURCE, json_option
from pgtools.cli._output import print_json, say


@click.command(name="add", short_help="Give a network file of yours a name.")
@click.argument("file", type=SOURCE)
@click.option("--name", required=True, help="What commands will call it.")
@click.option("--task", default="unspecified", show_default=True, help="What it does.")
@click.option("--architecture", default="", help="The family of networks it belongs to.")
@click.option("--scale", type=click.IntRange(min=1), help="How many times larger its output is.")
@click.option("--licence", default="unknown", show_default=True, help="Its licence, as SPDX names it.")
@click.option("--source", default="", help="The address of its project's page.")
@click.option("--note", default="", help="What to know before using it.")
@json_option
def command(file: Path, as_json: bool, **entry: str | int | None) -> None:
    """Copy FILE into the cache folder and write its name, size and SHA-256 into your own registry.

    FILE is .safetensors, or a .pth or .pt that PyTorch loads as weights only; anything else is refused before it is
    read further. Your registry is models.toml in your configuration folder, or what $PGTOOLS_MODELS names.

    \b
    Example:
      pgtools models add my-denoiser.pth --name my-denoiser --task denoising --licence MIT
    """
    from dataclasses import asdict

    from pgtools.models.entry import parse_entry
    from pgtools.models.own import add
    from pgtools.models.registry import user_registry
    from pgtools.models.weights import file_of

    fields = {key: value for key, value in entry.items() if key != "name" and value not in ("", None)}
    model = add(file, parse_entry(str(entry["name"]), {**fields, "file": file.name}, "pgtools models add", own=True))
    if as_json:
        print_json({**asdict(model), "path": str(file_of(model))})
        return
    click.echo(f"{model.name}: {file_of(model)}, SHA-256 {model.sha256}")
    say(f"Its entry is in {user_registry()}.")
