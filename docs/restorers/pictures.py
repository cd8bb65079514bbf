"""The side-by-side pictures of docs/models.md: what a network makes of photographs that may be shown."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pgtools.celebahq.process import Steps, process
from pgtools.demo.faces import compose, draw
from pgtools.demo.people import sample_person, sample_pose, sample_shot
from pgtools.imaging.photo import read_photo
from pgtools.imaging.resample import FILTERS, enlarge_nearest, lanczos
from pgtools.restoration.degrade import jpeg, shrink
from pgtools.restoration.network import ImageNetwork
from pgtools.runtime.files import written_aside
from pgtools.runtime.seeds import stream

Image8 = NDArray[np.uint8]
Enlarger = Callable[[Image8], tuple[Image8, int]]

MOST_BYTES = 500_000
LABEL = 22
GAP = 4
# The five points of the astronaut's face, read off the picture: eyes, nose, mouth corners.
ASTRONAUT_POINTS = np.array([[203, 101], [248, 102], [226, 130], [202, 140], [247, 141]], dtype=np.float64)
# (photo, top, left) of a square cut from it, on JPEG's grid.
JPEG_CUTS = (("astronaut.png", 72, 168), ("coffee.png", 208, 304), ("rocket.jpg", 336, 40), ("chelsea.png", 64, 120))
CUT = 88
SHOWN = 136
# Width and height of drawn photographs, in the proportions of CelebA's aligned ones.
DRAWN = (288, 352)


@dataclass(frozen=True)
class Scene:
    """A picture to shrink and enlarge, sides multiples of 4, and where the part begins that is shown."""

    image: Image8
    top: int
    left: int


@dataclass(frozen=True)
class Networks:
    """What is compared; Real-ESRGAN only where its file is at hand."""

    dejpeg: ImageNetwork
    sr4: ImageNetwork
    real_esrgan: ImageNetwork


def write_pictures(photos: Path, out: Path, networks: Networks) -> list[Path]:
    """Write every picture to the folder `out` and return them; `photos` holds those that were held out.

    Raises:
        ValueError: a picture is larger than a page should load.
    """
    made = {
        "dejpeg.png": _dejpeg(photos, networks.dejpeg),
        "sr4-faces.png": _sheet(*_columns(), [_again(image, networks) for image in _faces(photos)]),
        "sr4-edges.png": _sheet(*_columns(), [_again(image, networks) for image in _edges(photos)]),
        "sr4-patch.png": _patch(photos, networks),
        "builder-astronaut.png": _builder(*_astronaut_as_found(photos), networks),
        "builder-drawn.png": _builder(*_drawn_as_found(), networks),
    }
    encoded = {out / name: _png(image) for name, image in made.items()}
    if large := [f"{path.name} ({len(data):,} bytes)" for path, data in encoded.items() if len(data) > MOST_BYTES]:
        raise ValueError(f"Over {MOST_BYTES:,} bytes: {', '.join(large)}. Cut smaller pieces.")
    for path, data in encoded.items():
        with written_aside(path) as aside:
            aside.write_bytes(data)
    return list(encoded)


def _png(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.save(data, "PNG", optimize=True)
    return data.getvalue()


def _sheet(titles: Sequence[str], side: int, rows: Sequence[Sequence[Image8]]) -> Image.Image:
    """Return rows of square images under the titles of their columns."""
    step = side + GAP
    sheet = Image.new("RGB", (len(titles) * step - GAP, LABEL + len(rows) * step - GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for column, title in enumerate(titles):
        pen.text((column * step + side / 2, LABEL / 2), title, "black", font, anchor="mm")
    for line, images in enumerate(rows):
        for column, image in enumerate(images):
            sheet.paste(Image.fromarray(image), (column * step, LABEL + line * step))
    return sheet


def _dejpeg(photos: Path, restore: ImageNetwork) -> Image.Image:
    rows = []
    for name, top, left in JPEG_CUTS:
        photo = read_photo(_held_out(photos, name))
        window = np.s_[top : top + CUT, left : left + CUT]
        images = []
        for quality in (10, 30):
            seen = jpeg(photo, quality)
            images += [seen, restore(seen)[0]]
        rows.append([enlarge_nearest(image[window], 2) for image in (*images, photo)])
    return _sheet(("JPEG q10", "restored", "JPEG q30", "restored", "original"), 2 * CUT, rows)


def _columns() -> tuple[tuple[str, ...], int]:
    return ("bicubic", "Lanczos", "pgtools-sr4", "Real-ESRGAN", "original"), SHOWN


def _enlargers(networks: Networks) -> list[Enlarger]:
    return [_filter("bicubic"), _filter("lanczos"), networks.sr4, networks.real_esrgan]


def _filter(name: str) -> Enlarger:
    def enlarge(image: Image8) -> tuple[Image8, int]:
        size = (4 * image.shape[1], 4 * image.shape[0])
        return np.asarray(Image.fromarray(image).resize(size, FILTERS[name])), 4

    return enlarge


def _again(scene: Scene, networks: Networks) -> list[Image8]:
    """A picture shrunk four times and enlarged by each, cut; and the picture itself."""
    images = [*(enlarge(shrink(scene.image, 4))[0] for enlarge in _enlargers(networks)), scene.image]
    return [one[scene.top : scene.top + SHOWN, scene.left : scene.left + SHOWN] for one in images]


def _faces(photos: Path) -> list[Scene]:
    """The astronaut and two drawn people."""
    astronaut = Scene(read_photo(_held_out(photos, "astronaut.png")), 52, 156)
    return [astronaut, _drawn(3), _drawn(11)]


def _drawn(index: int) -> Scene:
    rng = stream(0, "docs-restoration", index)
    person, pose = sample_person(rng), sample_pose(rng, *DRAWN, aligned=True)
    photo = compose(person, pose, sample_shot(rng, pose.unit), *DRAWN, rng)
    left, top = (int(middle - SHOWN / 2) for middle in photo.landmarks.mean(axis=0))
    return Scene(photo.image, top, left)


def _edges(photos: Path) -> list[Scene]:
    """Drawn text, a tower beside the rocket, the rim of the cup."""
    rocket = np.ascontiguousarray(read_photo(_held_out(photos, "rocket.jpg"))[:424])
    coffee = read_photo(_held_out(photos, "coffee.png"))
    return [Scene(_text(), 0, 0), Scene(rocket, 256, 504), Scene(coffee, 8, 160)]


def _text() -> Image8:
    page = Image.new("RGB", (SHOWN, SHOWN), "#f4f1e8")
    pen = ImageDraw.Draw(page)
    lines = ((40, "Crop 8"), (30, "photo"), (24, "restored"), (18, "small letters"))
    for line, (size, text) in enumerate(lines):
        pen.text((6, 2 + 33 * line), text, "#1d2b4f", ImageFont.load_default(size))
    return np.asarray(page)


def _patch(photos: Path, networks: Networks) -> Image.Image:
    """The patch on the astronaut's suit enlarged from the photograph's own size: there is no original of this one."""
    photo = read_photo(_held_out(photos, "astronaut.png"))
    piece = np.ascontiguousarray(photo[328:440, 120:232])
    titles = _columns()[0][:-1]
    images = [enlarge(piece)[0][72:272, 100:300] for enlarge in _enlargers(networks)]
    return _sheet(titles, 200, [images])


def _astronaut_as_found(photos: Path) -> tuple[Image8, NDArray[np.float64]]:
    """The astronaut as a data set might hold her: JPEG of quality 60, 45 pixels from eye to eye."""
    return jpeg(read_photo(_held_out(photos, "astronaut.png")), 60), ASTRONAUT_POINTS


def _drawn_as_found() -> tuple[Image8, NDArray[np.float64]]:
    drawn = draw(1, 3, layout="aligned")
    return jpeg(drawn.image, 60), drawn.landmarks


def _builder(photo: Image8, points: NDArray[np.float64], networks: Networks) -> Image.Image:
    """The crop of 1024² by three builders: the middle half of it, and a detail at its own size."""
    defaults = Steps(1024, restore=networks.dejpeg, superres=networks.sr4)
    steps = [Steps(1024), defaults, Steps(1024, superres=networks.real_esrgan)]
    crops = [process(photo, points, step).image for step in steps]
    titles = ("Lanczos, not restored", "the defaults", "Real-ESRGAN")
    halves = [lanczos(np.ascontiguousarray(crop[256:768, 256:768]), 256, 256) for crop in crops]
    details = [crop[340:596, 300:556] for crop in crops]
    return _sheet(titles, 256, [halves, details])


def _held_out(photos: Path, name: str) -> Path:
    return next(photos.glob(f"*--{name}"))
