"""`pgtools models fetch`: the file of a network comes into the cache, checked before it can be used."""

from __future__ import annotations

import click

from pgtools.cli._options import json_option
from pgtools.cli._output import print_json, say
from pgtools.errors import InputError, PgtoolsError


@click.command(name="fetch", short_help="Get networks' files, from their publishers or a mirror.")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every network; of a folder, every network it has a file of.")
@click.option(
    "--from",
    "source",
    metavar="FILE|FOLDER|ADDRESS",
    help="Take it from a file, a folder, or the http(s) address of the file or (ending in '/') of its folder.",
)
@json_option
def command(names: tuple[str, ...], everything: bool, source: str | None, as_json: bool) -> None:
    """Get the files of networks into the cache folder.

    A file is used only after its SHA-256 was found right and its contents were found to be weights and nothing else; a
    file that is there and right is left alone. An interrupted download goes on where it stopped. Proxies are taken
    from http_proxy, https_proxy and no_proxy.

    \b
    Examples:
      pgtools models fetch retinaface-mobile0.25
      pgtools models fetch --all --from /media/usb/networks
      pgtools models fetch fbcnn-color --from https://mirror.example/networks/
    """
    from pgtools.models.fetch import Fetched, chosen_models, fetch
    from pgtools.runtime.files import human_bytes

    models = chosen_models(names, source, everything=everything)
    done: list[Fetched] = []
    faults: dict[str, PgtoolsError] = {}
    for model in models:
        if model.note:
            say(f"{model.name}: {model.note}")
        try:
            done.append(fetch(model, source, say=say))
        except PgtoolsError as error:
            if len(models) == 1:
                raise
            faults[model.name] = error
            say(f"{model.name}: {error.message}")
            continue
        if not as_json:
            one = done[-1]
            click.echo(f"{one.name}: {one.outcome}, {human_bytes(one.bytes)}, SHA-256 ({one.known_by}): {one.path}")
    if as_json:
        print_json([{**vars(one), "path": str(one.path)} for one in done])
    if faults:
        hint = next(iter(faults.values())).hint
        raise InputError(f"{len(faults)} of {len(models)} were not fetched: {', '.join(faults)}.", hint=hint)
