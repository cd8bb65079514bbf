"""`pgtools models`: which networks pgtools knows, and which are on this machine."""

from __future__ import annotations

import click

from pgtools.cli._options import json_option
from pgtools.cli._output import print_json, print_table, say


@click.group(name="models", short_help="Networks that pgtools can use.")
def command() -> None:
    """Networks that pgtools can use: landmarks and the Inception network."""


@command.command(name="list")
@json_option
def list_models(as_json: bool) -> None:
    """List the models of the registry: task, licence, and whether the file is on this machine.

    \b
    Example:
      pgtools models list
    """
    from pgtools.models.weights import cache_folder, how_to_get, registry

    models = list(registry().values())
    present = {model.name: (cache_folder() / model.file).is_file() for model in models}
    if as_json:
        print_json([{**vars(model), "present": present[model.name]} for model in models])
        return
    rows = [(m.name, m.task, m.licence, "present" if present[m.name] else "missing") for m in models]
    print_table(("model", "task", "licence", "file"), rows)
    for model in models:
        if not present[model.name]:
            say(f"{model.name}: {how_to_get(model)}")
