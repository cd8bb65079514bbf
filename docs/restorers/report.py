"""Measures the embedded networks and writes what docs/models.md shows: tables between its marks, and the pictures.

`report.py PHOTOS` takes the folder of held-out photographs that collect.py made; `report.py --check` only says
whether the table of photographs is current, and reads no network.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from photographs import ROLES, Photograph, read_list

from pgtools.errors import PgtoolsError
from pgtools.runtime.files import written_aside

if TYPE_CHECKING:
    from pgtools.restoration.measuring.evaluate import Evaluation
    from pgtools.restoration.measuring.tables import Table

DOCS = Path(__file__).parents[1]
PAGE = DOCS / "models.md"
PICTURES = DOCS / "images" / "restoration"
REAL_ESRGAN = "RealESRGAN_x4plus_fp16.pth"


def main(words: list[str] | None = None) -> None:
    """Write the page's tables and pictures, or check the table of photographs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="?", help="the folder held-out of collect.py")
    parser.add_argument("--check", action="store_true", help="fail if the table of photographs is not current")
    parser.add_argument("--dejpeg", default="pgtools-dejpeg", help="the restorer, by name or file")
    parser.add_argument("--sr4", default="pgtools-sr4", help="the enlarger, by name or file")
    parser.add_argument("--real-esrgan", type=Path, default=_shared_weights(), help="its file, unless fetched")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page that is written")
    parser.add_argument("--pictures", type=Path, default=PICTURES, help="the folder that is written")
    chosen = parser.parse_args(words)
    text = chosen.page.read_text("utf-8")
    with_list = _put(text, "photographs", photograph_table(read_list()))
    if chosen.check:
        sys.exit(f"{chosen.page}: the table of photographs is not current." if with_list != text else 0)
    if chosen.photos is None:
        parser.error("name the folder of held-out photographs, or pass --check")
    try:
        finished = _measured(with_list, chosen)
    except (PgtoolsError, ValueError) as error:
        sys.exit(f"{error} {getattr(error, 'hint', None) or ''}".rstrip())
    with written_aside(chosen.page) as aside:
        aside.write_text(finished, encoding="utf-8")


def photograph_table(photos: list[Photograph]) -> str:
    """Return what the networks learnt from and are measured on, as Markdown."""
    parts = []
    for role, what in zip(ROLES, ("For training", "Held out, to measure on"), strict=True):
        chosen = [photo for photo in photos if photo.role == role]
        rows = [(_package(photo), _file(photo), photo.author, photo.licence) for photo in chosen]
        lines = [("package", "file", "author", "licence"), (":--",) * 4, *rows]
        parts.append(f"{what} ({len(chosen)}):\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join(parts)


def _measured(text: str, chosen: argparse.Namespace) -> str:
    from pictures import Networks, write_pictures

    from pgtools.models.weights import find
    from pgtools.restoration.measuring.evaluate import evaluate
    from pgtools.restoration.measuring.settings import MeasureSettings
    from pgtools.restoration.measuring.tables import tables_of
    from pgtools.restoration.network import ImageNetwork, find_network

    compared = chosen.real_esrgan or find("realesrgan-x4plus")
    dejpeg = evaluate(chosen.dejpeg, [chosen.photos], MeasureSettings(superres=chosen.sr4))
    sr4 = evaluate(chosen.sr4, [chosen.photos], MeasureSettings())
    more = [evaluate(str(compared), [chosen.photos], MeasureSettings())]
    files = [find_network(chosen.dejpeg), find_network(chosen.sr4)]
    text = _put(text, "made", _made(*files))
    means, gains, clean = (table.markdown() for table in tables_of(_short(dejpeg)))
    text = _put(text, "dejpeg", f"{means}\n\nGain in dB, photo by photo:\n\n{gains}")
    text = _put(text, "clean", clean)
    text = _put(text, "as-found", _as_found(chosen, dejpeg).markdown())
    text = _put(text, "sr4", tables_of(_short(sr4))[0].markdown() + "\n\n" + _side_by_side(sr4, *more))
    networks = Networks(*map(ImageNetwork, files), real_esrgan=ImageNetwork(compared))
    for path in write_pictures(chosen.photos, chosen.pictures, networks):
        print(path)
    return text


def _made(*files: Path) -> str:
    """Return how the networks were made, as their files say, and the commands that make them again."""
    from pgtools.restoration.compact import read_made
    from pgtools.restoration.training.settings import RestorerSettings
    from pgtools.runtime.files import human_bytes, sha256_of

    columns = ("network", "values", "size", "photographs", "hours", "computed in", "torch", "SHA-256")
    lines, commands = ["| " + " | ".join(columns) + " |", "| :-- |" + " --: |" * 4 + " :-- |" * 3], []
    for file in files:
        made = read_made(file)
        settings, unset = made["settings"], RestorerSettings().as_dict()
        task, precision = settings["task"], f"{settings['precision']}, {settings['device']}"
        cells = (f"`pgtools-{task}`", f"{made['parameters']:,}", human_bytes(file.stat().st_size))
        more = (str(len(made["photographs"])), f"{made['seconds'] / 3600:.1f}", precision, made["torch"])
        lines.append("| " + " | ".join((*cells, *more, f"`{sha256_of(file)[:16]}…`")) + " |")
        told = {name: value for name, value in settings.items() if value != unset[name] or name in ("task", "seed")}
        words = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in told.items())
        commands.append(f"pgtools models train-restorer build/photos/train build/{task} {words}")
    return "\n".join(lines) + "\n\n```sh\n" + "\n".join(commands) + "\n```"


def _as_found(chosen: argparse.Namespace, halved: Evaluation) -> Table:
    """Return the gains on JPEGs that stand there at their own size, with the artifacts that they came with."""
    from pgtools.imaging.photo import LOSSY
    from pgtools.restoration.measuring.evaluate import evaluate
    from pgtools.restoration.measuring.settings import MeasureSettings
    from pgtools.restoration.measuring.tables import tables_of

    lossy = [chosen.photos / one.photo for one in halved.restored if Path(one.photo).suffix.lower() in LOSSY]
    gains = tables_of(_short(evaluate(chosen.dejpeg, lossy, MeasureSettings(halve_lossy=False))))[1]
    known = {one.photo: one.size for one in _short(halved).restored}
    return replace(gains, rows=tuple(row for row in gains.rows if known[row[0]] != row[1]))


def _side_by_side(*enlargers: Evaluation) -> str:
    """Return the means of every way to enlarge, as Markdown."""
    from pgtools.restoration.measuring.evaluate import mean

    means = [mean([photo.figures for photo in one.enlarged]) for one in enlargers]
    names = ["pgtools-sr4", "Real-ESRGAN ×4"]
    rows = [("bicubic", means[0].psnr_bicubic, means[0].ssim_bicubic)]
    rows += [("Lanczos", means[0].psnr_lanczos, means[0].ssim_lanczos)]
    rows += [(name, row.psnr, row.ssim) for name, row in zip(names, means, strict=False)]
    lines = [f"| {name} | {psnr:.2f} | {ssim:.4f} |" for name, psnr, ssim in rows]
    return "\n".join(["| means | PSNR | SSIM |", "| :-- | --: | --: |", *lines])


def _short(evaluation: Evaluation) -> Evaluation:
    """Return the figures with the photographs' own names, without their packages'."""
    restored = (replace(one, photo=Path(one.photo).stem.split("--")[-1]) for one in evaluation.restored)
    enlarged = (replace(one, photo=Path(one.photo).stem.split("--")[-1]) for one in evaluation.enlarged)
    return replace(evaluation, restored=tuple(restored), enlarged=tuple(enlarged))


def _package(photo: Photograph) -> str:
    return f"{photo.collection.name} {photo.collection.version}"


def _file(photo: Photograph) -> str:
    return f"`{photo.path.removeprefix('usr/share/')}`"


def _put(text: str, name: str, content: str) -> str:
    """Return the page with `content` between the marks of that name.

    Raises:
        SystemExit: the page has no such marks.
    """
    begin, end = f"<!-- {name}: made by docs/restorers/report.py -->", f"<!-- end of {name} -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        sys.exit(f"The page has no marks for {name}; expected {begin} … {end}, once.")
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    return pattern.sub(lambda _: f"{begin}\n\n{content}\n\n{end}", text)


def _shared_weights() -> Path | None:
    folder = os.environ.get("PGTOOLS_SHARED")
    file = Path(folder) / "weights" / REAL_ESRGAN if folder else None
    return file if file and file.is_file() else None


if __name__ == "__main__":
    main()
