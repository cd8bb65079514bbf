"""Gathers the photographs of photos.toml from the packages that carry them: `collect.py FOLDER`.

FOLDER/train and FOLDER/held-out are written, whole or not at all. Debian packages come from `apt-get download`, or
from --debian DIR; Python packages from this environment, or else from `pip download`. Whatever a package's version,
the SHA-256 of the photograph decides.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import zipfile
from itertools import groupby
from pathlib import Path

from photographs import LIST, ROLES, Collection, Photograph, read_list

from pgtools.errors import OutputError, PgtoolsError
from pgtools.runtime.files import check_writable, written_aside

# Folder of a Python package, where it is not the package's own name.
MODULES = {"scikit-image": "skimage", "scikit-learn": "sklearn"}


def main(words: list[str] | None = None) -> None:
    """Gather the photographs, or tell every fault and exit with 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="made anew; must not exist")
    parser.add_argument("--debian", type=Path, metavar="DIR", help="take .deb files from here, download none")
    parser.add_argument("--list", type=Path, default=LIST, metavar="TOML", help="another list of photographs")
    chosen = parser.parse_args(words)
    try:
        check_writable(chosen.folder, overwrite=False, what="folder")
        faults = collect(read_list(chosen.list), chosen.folder, debian=chosen.debian)
    except (OSError, ValueError, PgtoolsError) as error:
        faults = [str(error)]
    if faults:
        sys.exit("\n".join(faults))


def collect(photos: list[Photograph], folder: Path, *, debian: Path | None = None) -> list[str]:
    """Write the photographs to FOLDER/ROLE/NAME and return what is missing or wrong; nothing is written then."""
    found: dict[str, bytes] = {}
    faults: list[str] = []
    # In the order of the list, where the photographs of a collection stand together.
    for collection, wanted in groupby(photos, key=lambda photo: photo.collection):
        these = list(wanted)
        with tempfile.TemporaryDirectory(prefix="collect-") as scratch:
            try:
                root = _unpacked(collection, these, Path(scratch), debian)
            except OutputError as error:
                faults.append(f"{collection.name}: {error}")
                continue
            for photo in these:
                data = _read(root / photo.path)
                if hashlib.sha256(data).hexdigest() != photo.sha256:
                    what = "has another SHA-256 than the list" if data else "is not in the package"
                    faults.append(f"{collection.name}: {photo.path} {what} (listed from version {collection.version}).")
                found[photo.name] = data
    if not faults:
        _write(photos, found, folder)
    return faults


def _write(photos: list[Photograph], found: dict[str, bytes], folder: Path) -> None:
    with written_aside(folder) as aside:
        for role in ROLES:
            (aside / role).mkdir(parents=True)
        for photo in photos:
            (aside / photo.role / photo.name).write_bytes(found[photo.name])
    for role in ROLES:
        print(f"{folder / role}: {sum(photo.role == role for photo in photos)} photographs")


def _unpacked(collection: Collection, photos: list[Photograph], scratch: Path, debian: Path | None) -> Path:
    """Return the folder under which the paths of a collection's photographs lie."""
    if collection.kind == "debian":
        return _unpacked_deb(_deb(collection, scratch, debian), scratch / "files")
    return _installed(collection, photos) or _unpacked_wheel(_wheel(collection, scratch), scratch / "files", photos)


def _deb(collection: Collection, scratch: Path, debian: Path | None) -> Path:
    if debian is None:
        _first_that_works(
            [["apt-get", "download", f"{collection.name}{version}"] for version in (f"={collection.version}", "")],
            scratch,
            instead=f"Fetch {collection.name}_*.deb from any Debian mirror and name its folder with --debian DIR.",
        )
    files = sorted((debian or scratch).glob(f"{collection.name}_*.deb"))
    if not files:
        raise OutputError(f"no {collection.name}_*.deb in {debian or scratch}.")
    # Where several versions are there, the one that was listed; else the last.
    return next((file for file in files if collection.version.replace(":", "%3a") in file.name), files[-1])


def _unpacked_deb(deb: Path, folder: Path) -> Path:
    _first_that_works([["dpkg-deb", "-x", str(deb.resolve()), str(folder)]], folder.parent, instead="Is it whole?")
    return folder


def _installed(collection: Collection, photos: list[Photograph]) -> Path | None:
    """Return the folder of this environment's packages, if it has the photographs as they are listed."""
    spec = importlib.util.find_spec(MODULES.get(collection.name, collection.name))
    if spec is None or spec.origin is None:
        return None
    root = Path(spec.origin).parents[1]
    same = all(hashlib.sha256(_read(root / photo.path)).hexdigest() == photo.sha256 for photo in photos)
    return root if same else None


def _wheel(collection: Collection, scratch: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", "."]
    _first_that_works(
        [[*pip, f"{collection.name}{version}"] for version in (f"=={collection.version}", "")],
        scratch,
        instead=f"Install {collection.name} into this environment.",
    )
    return next(scratch.glob("*.whl"))


def _unpacked_wheel(wheel: Path, folder: Path, photos: list[Photograph]) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(folder, [photo.path for photo in photos if photo.path in names])
    return folder


def _first_that_works(commands: list[list[str]], folder: Path, *, instead: str) -> None:
    """Run the commands in a folder until one succeeds.

    Raises:
        OutputError: none does; says what the last one said.
    """
    said = ""
    for command in commands:
        if shutil.which(command[0]) is None:
            raise OutputError(f"there is no {command[0]} on this machine. {instead}")
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if done.returncode == 0:
            return
        said = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no reason given")
    raise OutputError(f"{' '.join(commands[-1][:2])} failed ({said}). {instead}")


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


if __name__ == "__main__":
    main()
