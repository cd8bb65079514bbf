"""The page about a build: what a build left behind is read and handed to the report."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgtools.celebahq.settings import BuildSettings
from pgtools.cli._output import say
from pgtools.errors import InputError, OutputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def page_path(store: Path) -> Path:
    """Return where the page about a build stands: NAME-report.html beside its first store."""
    return store.with_name(f"{store.stem}-report.html")


def write_build_page(record_file: Path, page: Path | None = None) -> Path:
    """Write the page about a build and return where it stands.

    Args:
        record_file: the NAME-build.json that the build wrote, with its manifest and stores beside it.
        page: where to; NAME-report.html beside the first store if not given. A .png gets the figure of the scores
            alone: their histogram, crops at its quantiles, the best and the worst.

    Raises:
        InputError: it is no such record, or its manifest is not there.
        OutputError: the page cannot be written.
    """
    from pgtools.celebahq.manifest import manifest_path, read_manifest
    from pgtools.report.build_content import compose_build
    from pgtools.report.build_figures import quality_figure
    from pgtools.report.build_page import render_build
    from pgtools.report.build_record import read_record
    from pgtools.report.build_rows import COLUMNS
    from pgtools.runtime.files import check_writable, remove_stale, written_aside

    record, notes = read_record(record_file)
    # The three stand together, wherever they were built or have been moved to.
    store = record_file.with_name(Path(record.stores[0]).name) if record.stores else record_file
    page = page or page_path(store)
    check_writable(page, overwrite=True, what="file")
    upright: set[str] = set()

    def rows() -> Iterator[Mapping[str, Any]]:
        for row in read_manifest(manifest_path(store), only=(*COLUMNS, "landmarks_source")):
            if row["landmarks_source"] == "facexlib":  # the face was searched in the photo as it is looked at
                upright.add(str(row["file"]))
            yield row

    if page.suffix.lower() == ".png":
        data = quality_figure(rows(), _crop_of(store), record.settings)
    else:
        defaults, photo_of = BuildSettings().as_dict(), _photo_of(record.source, upright)
        composed = compose_build(record, rows(), _crop_of(store), photo_of, defaults, notes=notes)
        data, notes = render_build(composed).encode(), list(composed.notes)
    remove_stale(page)
    try:
        with written_aside(page) as aside:
            aside.write_bytes(data)
    except OSError as error:
        raise OutputError(f"{page} cannot be written ({error.strerror}).") from None
    for note in notes:
        say(note)
    return page


def _crop_of(store: Path) -> Callable[[int], NDArray[np.uint8] | None]:
    from pgtools.stores.opening import open_source

    try:
        source = open_source(store)
    except InputError:
        return lambda index: None
    return lambda index: source.read([index])[0].transpose(1, 2, 0)


def _photo_of(root: str, upright: Container[str]) -> Callable[[str], NDArray[np.uint8] | None]:
    """Return what reads a photo by its name; those named in `upright` are turned by their EXIF orientation."""
    from pgtools.celebahq.input.photos import find_photos
    from pgtools.imaging.photo import decode

    try:
        files = find_photos(Path(root)).files
    except InputError:
        return lambda name: None

    def read(name: str) -> NDArray[np.uint8] | None:
        file = files.get(name)
        return None if file is None else decode(file.read(), where=str(file), upright=name in upright)

    return read
