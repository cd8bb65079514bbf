"""`pgtools models remove`: files of networks leave the cache."""

from __future__ import annotations

import click

from pgtools.cli._output import at_a_terminal, say
from pgtools.errors import OutputError


@click.command(name="remove", short_help="Remove networks' files from the cache folder.")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask, even at a terminal.")
def command(names: tuple[str, ...], yes: bool) -> None:
    """Remove the files of networks from the cache folder, and the hashes recorded of them.

    A network that `pgtools models add` brought leaves your registry too; the others can be fetched again. At a terminal
    it is asked first.

    \b
    Example:
      pgtools models remove swinir-real-x4
    """
    from pgtools.models.own import check_removable, remove
    from pgtools.models.registry import model_named, user_registry
    from pgtools.models.weights import file_of

    models = [model_named(name) for name in dict.fromkeys(names)]
    for model in models:
        check_removable(model)
    files = ", ".join(str(file_of(model)) for model in models)
    if not yes and at_a_terminal() and not click.confirm(f"Remove {files}?", default=False, err=True):
        raise OutputError("Nothing was changed.", hint="Answer y, or pass --yes.")
    for model in models:
        gone = remove(model)
        click.echo(f"{model.name}: removed")
        if model.own and not gone:
            say(f"Its entry stays in {user_registry()}.")
