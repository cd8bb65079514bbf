"""The figures of a network as tables of text, for a terminal and for the documents."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pgtools.restoration.measuring.evaluate import Enlarged, Evaluation, Restored, mean
from pgtools.restoration.measuring.protocol import QUALITIES, Enlargement

MEAN = "mean"


@dataclass(frozen=True)
class Table:
    """A title, names of columns, and rows of cells; every column after the first is a number."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """Return the table, without its title, as Markdown."""
        lines = [self.columns, (":--", *["--:"] * (len(self.columns) - 1)), *self.rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def tables_of(evaluation: Evaluation) -> list[Table]:
    """Return the tables of an evaluation: means first, then photo by photo."""
    if evaluation.restored:
        return [_by_quality(evaluation), _gains(evaluation.restored), _clean(evaluation)]
    return [_enlarged(evaluation)]


def _by_quality(evaluation: Evaluation) -> Table:
    count, colour = len(evaluation.restored), evaluation.settings.subsampling
    rows = []
    for at_quality in zip(*(photo.jpeg for photo in evaluation.restored), strict=True):
        row = mean(at_quality)
        decibels = (_number(row.psnr_before), _number(row.psnr_after), _signed(row.gain))
        alike = (_number(row.ssim_before, 4), _number(row.ssim_after, 4))
        blocks = (_number(row.blockiness_before, 1), _number(row.blockiness_after, 1))
        rows.append((f"{row.quality:.0f}", *decibels, *alike, *blocks))
    columns = ("quality", "PSNR of the JPEG", "restored", "gain", "SSIM", "restored", "blockiness", "restored")
    return Table(
        f"{_named(evaluation.network)}: JPEG {colour}, means of {_photos(count)}, PSNR in dB", columns, tuple(rows)
    )


def _gains(photos: Sequence[Restored]) -> Table:
    rows = [(photo.photo, photo.size, *(_signed(row.gain) for row in photo.jpeg)) for photo in photos]
    return Table("Gain in dB, photo by photo", ("photo", "size", *(f"q{q}" for q in QUALITIES)), tuple(rows))


def _clean(evaluation: Evaluation) -> Table:
    named = [(photo.photo, photo.clean) for photo in evaluation.restored]
    rows = [
        (
            name,
            _number(row.psnr),
            f"{100 * row.changed:.1f} %",
            f"{row.largest:.0f}" if name != MEAN else f"{row.largest:.1f}",
            _signed(row.later, 3),
            _number(row.blockiness_before, 1),
            _number(row.blockiness_after, 1),
        )
        for name, row in [*named, (MEAN, mean([row for _, row in named]))]
    ]
    then = _named(evaluation.settings.superres)
    columns = ("photo", "PSNR", "values changed", "largest change", "then ×4", "blockiness", "restored")
    return Table(f"Clean photos; then ×4: dB of {then} with the restorer in front, less without", columns, tuple(rows))


def _enlarged(evaluation: Evaluation) -> Table:
    rows = [_enlarged_row(photo) for photo in evaluation.enlarged]
    together = mean([photo.figures for photo in evaluation.enlarged])
    rows.append((MEAN, "", *_figures(together)))
    columns = ("photo", "size", "bicubic", "Lanczos", "network", "gain", "SSIM bicubic", "Lanczos", "network")
    title = f"{_named(evaluation.network)}: ×{evaluation.scale} after antialiased bicubic, luminance, PSNR in dB"
    return Table(title, columns, tuple(rows))


def _enlarged_row(photo: Enlarged) -> tuple[str, ...]:
    return (photo.photo, photo.size, *_figures(photo.figures))


def _figures(row: Enlargement) -> tuple[str, ...]:
    decibels = [_number(value) for value in (row.psnr_bicubic, row.psnr_lanczos, row.psnr)]
    alike = [_number(value, 4) for value in (row.ssim_bicubic, row.ssim_lanczos, row.ssim)]
    return (*decibels, _signed(row.gain), *alike)


def _named(network: str) -> str:
    return Path(network).name


def _photos(count: int) -> str:
    return f"{count} photo{'' if count == 1 else 's'}"


def _number(value: float | None, digits: int = 2) -> str:
    return "equal" if value is None or math.isinf(value) else f"{value:.{digits}f}"


def _signed(value: float | None, digits: int = 2) -> str:
    if value is None or math.isinf(value):
        return "−∞" if value == -math.inf else "∞"
    rounded = round(value, digits) + 0.0  # without −0
    return f"{rounded:+.{digits}f}".replace("-", "−")
