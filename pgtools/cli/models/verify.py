"""`pgtools models verify`: every file of weights, held against its hash."""

from __future__ import annotations

import click

from pgtools.cli._options import json_option
from pgtools.cli._output import print_json, print_table
from pgtools.errors import InputError


@click.command(name="verify", short_help="Check the SHA-256 of the files that are here.")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@json_option
def command(names: tuple[str, ...], as_json: bool) -> None:
    """Hash the files of the named networks, or of all that are here, and compare with what is published or recorded.

    Exit code 1 if a file is damaged, or a named one missing.

    \b
    Example:
      pgtools models verify
    """
    from pgtools.models.registry import model_named
    from pgtools.models.verify import verify
    from pgtools.models.weights import how_to_get

    found = verify(names)
    if as_json:
        print_json([{**vars(one), "path": str(one.path)} for one in found])
    elif found:
        print_table(("network", "state", "SHA-256"), [(one.name, one.state, one.sha256) for one in found])
    else:
        click.echo("No network is here.")
    faulty = [one for one in found if one.faulty]
    if faulty:
        told = "; ".join(
            f"{one.path} {'is missing' if one.state == 'missing' else f'should have SHA-256 {one.expected}'}"
            for one in faulty
        )
        hint = "\n".join(dict.fromkeys(how_to_get(model_named(one.name)) for one in faulty))
        raise InputError(f"{len(faulty)} of {len(found)} files cannot be used: {told}.", hint=hint)
