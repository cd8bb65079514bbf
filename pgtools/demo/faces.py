"""CelebA-like photographs with exact landmarks, drawn: unlimited, licence-free, deterministic.

Photograph i depends on (seed, i) alone. Landmarks are those of CelebA: left eye, right eye, nose tip, left
and right corner of the mouth, "left" as seen in the picture; the eye's point is the centre of the pupil.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pgtools.demo import clothes, features, hair, scenery, skin
from pgtools.demo.head import Head, landmarks
from pgtools.demo.paint import Canvas
from pgtools.demo.people import Person, Pose, Shot, sample_person, sample_pose, sample_shot
from pgtools.errors import OutputError, UsageError
from pgtools.runtime.files import check_writable, written_aside
from pgtools.runtime.progress import bar
from pgtools.runtime.seeds import stream
from pgtools.runtime.workers import map_unordered

Layout: TypeAlias = Literal["wild", "aligned"]
# Layout → photo folder and annotation file, CelebA's own names.
PATHS = {
    "wild": ("img_celeba", "Anno/list_landmarks_celeba.txt"),
    "aligned": ("img_align_celeba", "Anno/list_landmarks_align_celeba.txt"),
}
POINTS = ("lefteye", "righteye", "nose", "leftmouth", "rightmouth")
ALIGNED_SIZE = (178, 218)
CHUNK = 32


@dataclass(frozen=True)
class Photo:
    """A drawn photograph.

    Attributes:
        image: uint8 RGB (H, W, 3), before JPEG.
        landmarks: float64 (5, 2), x and y as CelebA annotates them, before rounding: a whole number names a
            pixel, whose centre lies at +0.5 from the picture's edge.
        quality: the JPEG quality it is stored with, 30 to 95.
    """

    image: NDArray[np.uint8]
    landmarks: NDArray[np.float64]
    quality: int


def draw(seed: int, index: int, *, layout: Layout = "wild") -> Photo:
    """Return photograph `index` of the endless series that `seed` names.

    Args:
        seed: names the series.
        index: names the photograph in it, from 0.
        layout: "wild": 178×218 or any size from 200 to 900 pixels wide, faces anywhere, rolled up to 0.6 rad;
            "aligned": 178×218, eyes level on CelebA's line.
    """
    rng = stream(seed, "faces", index)
    person = sample_person(rng)
    width, height = ALIGNED_SIZE if layout == "aligned" else _wild_size(rng)
    pose = sample_pose(rng, width, height, aligned=layout == "aligned")
    return compose(person, pose, sample_shot(rng, pose.unit), width, height, rng)


def compose(person: Person, pose: Pose, shot: Shot, width: int, height: int, rng: np.random.Generator) -> Photo:
    """Return the photograph of this person in this pose and light; `rng` places strands, leaves and grain."""
    canvas = Canvas(scenery.paint_backdrop(width, height, shot, rng))
    head = Head(person, pose)
    hair.draw_hair_behind(canvas, head, shot, rng)
    skin.draw_neck(canvas, head, shot)
    clothes.draw_clothes(canvas, head, shot)
    skin.draw_ears(canvas, head)
    skin.draw_skin(canvas, head, shot)
    hair.draw_beard(canvas, head, rng)
    features.draw_features(canvas, head, shot, rng)
    hair.draw_hair(canvas, head, shot, rng)
    features.draw_glasses(canvas, head)
    return Photo(scenery.finish(canvas.planes, shot, rng), landmarks(head), shot.quality)


def write_faces(
    out: Path, *, count: int, seed: int, layout: Layout = "wild", workers: int = 1, overwrite: bool = False
) -> None:
    """Write `count` photographs and their landmarks as a CelebA folder, whole or not at all.

    Args:
        out: the folder; new or empty, or, with `overwrite`, one that holds nothing but what this writes.
        count: how many; the first n of a larger count are the same files.
        seed: names the series.
        layout: "wild" (img_celeba/) or "aligned" (img_align_celeba/).
        workers: processes that draw; the files do not depend on it.
        overwrite: replace what `out` holds.

    Raises:
        UsageError: the count is below 1.
        OutputError: `out` holds something, or cannot be written.
    """
    if count < 1:
        raise UsageError(f"--count is {count}; expected 1 or more.")
    _check_out(out, overwrite=overwrite)
    images, annotations = PATHS[layout]
    rows: dict[int, str] = {}
    out = out.resolve()
    with written_aside(out) as folder:
        (folder / images).mkdir(parents=True)
        job = functools.partial(_write_chunk, folder / images, seed, layout)
        chunks = [range(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]
        with bar("Drawing faces", count) as advance:
            for written in map_unordered(job, chunks, workers=min(workers, len(chunks))):
                rows.update(written)
                advance(len(written))
        (folder / annotations).parent.mkdir()
        lines = [
            str(count),
            " ".join(f"{point}_{axis}" for point in POINTS for axis in "xy"),
            *(rows[i] for i in range(count)),
        ]
        (folder / annotations).write_text("\n".join(lines) + "\n", encoding="ascii")


def _check_out(out: Path, *, overwrite: bool) -> None:
    check_writable(out, overwrite=True, what="folder")
    if not out.exists():
        return
    if not out.is_dir():
        raise OutputError(f"{out} is a file; the faces go into a folder.", hint="Name another folder.")
    held = sorted(path.name for path in out.iterdir())
    if held and not overwrite:
        raise OutputError(f"{out} is not empty.", hint="Name another folder, or pass --overwrite.")
    ours = {name.split("/")[0] for paths in PATHS.values() for name in paths}
    if foreign := [name for name in held if name not in ours]:
        raise OutputError(
            f"{out} holds {foreign[0]}, which is no part of a CelebA folder; it will not be replaced.",
            hint="Name another folder.",
        )


def _write_chunk(folder: Path, seed: int, layout: Layout, indices: Sequence[int]) -> dict[int, str]:
    """Draw and store some photographs; return index → its line of the annotation file."""
    lines = {}
    for index in indices:
        photo = draw(seed, index, layout=layout)
        name = f"{index + 1:06d}.jpg"
        Image.fromarray(photo.image).save(folder / name, quality=photo.quality)
        numbers = np.rint(photo.landmarks).astype(int).ravel()
        lines[index] = " ".join([name, *map(str, numbers)])
    return lines


def _wild_size(rng: np.random.Generator) -> tuple[int, int]:
    if rng.random() < 0.3:
        return ALIGNED_SIZE
    width = round(200 * 4.5 ** float(rng.uniform(0, 1) ** 1.5))
    return width, round(width * float(np.clip(rng.normal(1.25, 0.15), 0.75, 1.5)))
