"""What `pgtools train` says of a run beforehand: its preset, its settings, its phases and what they will take."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from pgtools.cli._output import print_json, print_table, say
from pgtools.progan.config import TrainSettings
from pgtools.progan.presets import preset_description, preset_names, settings_from

if TYPE_CHECKING:
    import torch

    from pgtools.progan.benchmark.probe import PhaseRow
    from pgtools.stores.source import ImageSource


@dataclass(frozen=True)
class Plan:
    """A run that is to be.

    Attributes:
        source: its images.
        settings: as asked for.
        preset: the preset that they came from, None if it is not known.
        device: that will compute.
    """

    source: ImageSource
    settings: TrainSettings
    preset: str | None
    device: torch.device

    @property
    def resolved(self) -> dict[str, Any]:
        """What the settings leave to the machine and to the data."""
        import torch

        from pgtools.progan.precision import resolve_precision
        from pgtools.progan.schedule import total_images

        half = resolve_precision(self.settings.precision, self.device) == torch.bfloat16
        return {
            "device": str(self.device),
            "precision": "bfloat16" if half else "float32",
            "total_kimg": total_images(self.source.resolution, self.settings) / 1000,
        }

    @property
    def changed(self) -> list[str]:
        """The options that make the run differ from its preset."""
        if self.preset not in preset_names():
            return []
        usual = settings_from(str(self.preset), {})
        as_usual = dataclasses.replace(self.settings, total_kimg=usual.total_kimg, precision=usual.precision)
        mine, theirs = self.resolved, dataclasses.replace(self, settings=as_usual).resolved
        same = {name for name in ("precision", "total_kimg") if mine[name] == theirs[name]}
        return [
            option(name, value)
            for name, value in self.settings.as_dict().items()
            if value != getattr(usual, name) and name not in same
        ]

    def described(self) -> str:
        """Return what is known of the preset, and what of this run it does not say."""
        if self.preset not in preset_names():
            return "The preset is not known." if self.preset is None else f"Preset {self.preset}, unknown here."
        apart = (
            f", with {' '.join(self.changed)} (its figures are those of the preset unchanged)" if self.changed else ""
        )
        return f"Preset {self.preset}{apart}: {preset_description(str(self.preset))}"

    def notes(self) -> list[str]:
        """Return what is odd, but no fault, about training on these images."""
        from pgtools.progan.schedule import from_resolution

        settings, top = self.settings, self.source.resolution
        first = settings.start_resolution if settings.growing else top
        levels = [level for level in self.source.levels if level >= first]
        most = int(max(from_resolution(settings.minibatch_table, level) for level in levels))
        found = []
        if len(self.source) < most:
            found.append(
                f"Note: {self.source.name} has {len(self.source)} images, fewer than a minibatch of {most}: "
                "each stands in it more than once."
            )
        labels = self.source.labels if settings.labels else None
        if labels is not None and (labels == labels[0]).all():
            found.append(
                f"Note: all images of {self.source.name} are of one class; --labels has nothing to tell apart."
            )
        return found


def option(name: str, value: Any) -> str:
    """Return a setting as it is given on the command line, such as "--fmap-base 512" or "--no-growing"."""
    words = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{words}" if value else f"--no-{words}"
    return f"--{words} {value}" if value not in (None, "") else f"no --{words}"


def show(plan: Plan, *, as_json: bool) -> None:
    """Print a plan: settings, and the phases, timed by some steps of each stage on this machine."""
    from pgtools.progan.benchmark.probe import probe
    from pgtools.progan.trainer import shape_of

    shape_of(plan.source, plan.settings)  # for its errors
    if not as_json:
        click.echo(plan.described())
        _print_settings(plan)
    say("Timing some steps of each stage, about half a minute …")
    rows = probe(plan.source.resolution, plan.settings, plan.device)
    if as_json:
        known = plan.preset in preset_names()
        print_json(
            {
                "preset": plan.preset,
                "description": preset_description(str(plan.preset)) if known else None,
                "changed": plan.changed,
                "resolved": plan.resolved,
                "settings": plan.settings.as_dict(),
                "phases": [dataclasses.asdict(row) for row in rows],
            }
        )
    else:
        _print_phases(rows, plan.device)


def _print_settings(plan: Plan) -> None:
    """One line a setting; what is no option is left out where it says nothing new."""
    for field in dataclasses.fields(plan.settings):
        value, resolved = getattr(plan.settings, field.name), plan.resolved.get(field.name)
        if field.metadata["hidden"] and value == field.default:
            continue
        if isinstance(value, bool):
            text = "on" if value else "off"
        elif value == "auto":
            text = f"auto: {resolved}"
        elif isinstance(value, float) or (value is None and resolved is not None):
            text = f"{value if resolved is None else resolved:g}"
        else:
            text = "" if value is None else str(value)
        click.echo(f"{field.name.replace('_', '-'):<24} {text}".rstrip())


def _print_phases(rows: list[PhaseRow], device: torch.device) -> None:
    print_table(
        ("phase", "kimg", "minibatch", "learning rate", "estimated time", "from"),
        [
            (
                f"{row.level}² {'fading in' if row.fading else 'stable'}",
                f"{row.begin_kimg:g} to {row.end_kimg:g}",
                str(row.minibatch),
                f"{row.learning_rate:g}",
                _duration(row.seconds),
                f"estimated from {row.basis}" if row.basis else "measured",
            )
            for row in rows
        ],
    )
    click.echo(f"In all about {_duration(sum(row.seconds for row in rows))} on {device}, without scores and grids.")


def _duration(seconds: float) -> str:
    """Say 95 as 1.6 minutes."""
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"
