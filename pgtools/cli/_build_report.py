"""The page about a build: what a build left behind is read and handed to the report."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pgtools.celebahq.settings import BuildSettings
from pgtools.cli._output import say
from pgtools.errors import InputError, OutputError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pgtools.runtime.build_format import BuildRecord


def page_path(store: Path) -> Path:
    """Return where the page about a build stands: NAME-report.html beside its first store."""
    return store.with_name(f"{store.stem}-report.html")


def check_page(path: Path, *, kinds: Sequence[str] = (".html",)) -> None:
    """Check that a file can be the page by its name; folders are for `check_writable` to refuse.

    Raises:
        UsageError: its name ends otherwise than in one of `kinds`.
    """
    if path.suffix.lower() not in kinds and not path.is_dir():
        raise UsageError(f"{path} is no name for a report; expected one that ends in {' or '.join(kinds)}.")


def write_build_page(record_file: Path, page: Path | None = None) -> Path:
    """Write the page about a build and return where it stands.

    Args:
        record_file: the NAME-build.json that the build wrote, with its manifest and stores beside it.
        page: where to; NAME-report.html beside the first store if not given. A .png gets the figure of the scores
            alone: their histogram, crops at its quantiles, the best and the worst.

    Raises:
        UsageError: `page` ends otherwise than in .html or .png.
        InputError: it is no such record, or its manifest is not there; for a picture, also if the store is not.
        OutputError: the page cannot be written.
    """
    from pgtools.report.build_record import read_record
    from pgtools.runtime.files import check_writable, remove_stale, written_aside

    if page is not None:
        check_page(page, kinds=(".html", ".png"))
    record, notes = read_record(record_file)
    # The three stand together, wherever they were built or have been moved to.
    store = record_file.with_name(Path(record.stores[0]).name) if record.stores else record_file
    page = page or page_path(store)
    check_writable(page, overwrite=True, what="file")
    data, notes = _picture(record, store) if page.suffix.lower() == ".png" else _page(record, store, notes)
    remove_stale(page)
    try:
        with written_aside(page) as aside:
            aside.write_bytes(data)
    except OSError as error:
        raise OutputError(f"{page} cannot be written ({error.strerror}).") from None
    for note in notes:
        say(note)
    return page


def _picture(record: BuildRecord, store: Path) -> tuple[bytes, list[str]]:
    """Return the scores as PNG; it tells nothing that a note could be about."""
    from pgtools.celebahq.manifest import manifest_path, read_manifest
    from pgtools.report.build_figures import quality_figure
    from pgtools.report.build_rows import COLUMNS

    return quality_figure(read_manifest(manifest_path(store), only=COLUMNS), _crop_of(store), record.settings), []


def _page(record: BuildRecord, store: Path, notes: list[str]) -> tuple[bytes, list[str]]:
    """Return the page as HTML, and what is missing from it."""
    from pgtools.celebahq.manifest import manifest_path, read_manifest
    from pgtools.report.build_content import compose_build
    from pgtools.report.build_page import render_build
    from pgtools.report.build_rows import COLUMNS

    manifest = manifest_path(store)
    # A face that facexlib found was searched in the photo as it is looked at.
    sources = read_manifest(manifest, only=("file", "landmarks_source"))
    upright = {str(row["file"]) for row in sources if row["landmarks_source"] == "facexlib"}
    page = compose_build(
        record,
        read_manifest(manifest, only=COLUMNS),
        _crop_of(store),
        _photo_of(record.source, upright),
        BuildSettings().as_dict(),
        notes=notes,
    )
    # A file's name need not be UTF-8; its odd bytes are shown as \udcff and the like.
    return render_build(page).encode(errors="backslashreplace"), list(page.notes)


def _crop_of(store: Path) -> Callable[[int], NDArray[np.uint8]]:
    """Return what reads a crop by its place; InputError at each call where the store cannot be opened."""
    from pgtools.stores.opening import open_source

    if not store.exists():
        return _always(InputError(f"{store} is not beside the build's record."))
    try:
        source = open_source(store)
    except InputError as error:
        return _always(error)
    return lambda index: source.read([index])[0].transpose(1, 2, 0)


def _photo_of(root: str, upright: Container[str]) -> Callable[[str], NDArray[np.uint8]]:
    """Return what reads a photo by its name, or raises InputError; those in `upright` are turned by their EXIF."""
    from pgtools.celebahq.input.photos import find_photos
    from pgtools.imaging.photo import decode

    if not root:
        return _always(InputError("the record does not tell where they are"))
    try:
        files = find_photos(Path(root)).files
    except (InputError, OSError) as error:
        return _always(error)

    def read(name: str) -> NDArray[np.uint8]:
        if name not in files:
            raise InputError(f"{name} is not in {root} any more.")
        return decode(files[name].read(), where=str(files[name]), upright=name in upright)

    return read


def _always(error: Exception) -> Callable[[object], NDArray[np.uint8]]:
    def fail(_: object) -> NDArray[np.uint8]:
        raise error

    return fail
