"""The command line itself: speed, exit codes, one-line errors, help."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import click
import pytest

from pgtools import __version__
from pgtools.cli import COMMANDS, group

HEAVY = ("numpy", "torch", "cv2", "scipy", "PIL", "h5py", "lmdb", "rich", "matplotlib", "facexlib")


def every_command() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name in COMMANDS:
        command = group.get_command(click.Context(group), name)
        found.append((name,))
        found += [(name, inner) for inner in getattr(command, "commands", {})]
    return found


@pytest.mark.parametrize("words", [(), *every_command()], ids=" ".join)
def test_help_loads_nothing_heavy(words: tuple[str, ...]) -> None:
    code = (
        "import sys; from pgtools.cli import run; code = run(sys.argv[1:]);"
        f"heavy = [name for name in {HEAVY!r} if name in sys.modules]; sys.exit(f'{{heavy}}' if heavy or code else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words, "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Usage: pgtools")


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_every_help_has_an_example_and_every_option_a_text(words: tuple[str, ...]) -> None:
    command: click.Command | None = group
    for word in words:
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), word)
    assert command is not None and command.help
    if not isinstance(command, click.Group):
        assert re.search(rf"\bExamples?:\n +pgtools {' '.join(words)}", command.help)
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{words} {parameter.name}"


def test_version(pgtools) -> None:
    assert pgtools("--version").out == f"pgtools, version {__version__}\n"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["bild"], 2, "No such command 'bild'"),
        (["store", "info", "none"], 1, "none does not exist"),
        (["store", "info"], 2, "Missing argument 'PATH'"),
        (["build-celebahq", "x", "y.lmdb", "--resolution", "100"], 2, "expected a power of two"),
        (["build-celebahq", "x", "y.lmdb", "--resolution", "2048"], 2, "expected 4 to 1024"),
        (["build-celebahq", "x", "y.lmdb", "--device", "tpu", "--superres", "n.pth"], 1, "x is missing"),
        (["build-celebahq", "x", "y.tfrecords"], 2, "NAME.lmdb or NAME.h5"),
    ],
)
def test_bad_input_is_one_line_and_a_hint(pgtools, words: list[str], code: int, message: str) -> None:
    outcome = pgtools(*words)
    lines = outcome.err.splitlines()
    assert outcome.code == code
    assert outcome.out == ""
    errors = [line for line in lines if line.startswith("Error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert "Traceback" not in outcome.err


def test_debug_shows_the_traceback() -> None:
    command = [sys.executable, "-m", "pgtools", "--debug", "store", "info", "none"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_a_fault_of_pgtools_says_so(pgtools, monkeypatch) -> None:
    def broken(path, **how):
        raise RuntimeError("boom")

    monkeypatch.setattr("pgtools.stores.opening.open_source", broken)
    outcome = pgtools("store", "info", ".")
    assert outcome.code == 1
    assert "RuntimeError: boom" in outcome.err
    assert "--debug" in outcome.err


def test_a_full_disk_is_no_fault_of_pgtools(pgtools, monkeypatch) -> None:
    def full(path, **how):
        raise OSError(28, "No space left on device", "store.lmdb")

    monkeypatch.setattr("pgtools.stores.opening.open_source", full)
    outcome = pgtools("store", "info", ".")
    assert outcome.code == 1
    assert outcome.err.startswith("Error: store.lmdb: No space left on device.")
    assert "fault" not in outcome.err


def test_a_run_is_not_written_into_its_own_images(pgtools, tmp_path) -> None:
    outcome = pgtools("train", tmp_path, "--out", tmp_path / "run")
    assert outcome.code == 2
    assert "lies in" in outcome.err
    assert not (tmp_path / "run").exists()


def test_doctor(pgtools) -> None:
    facts = json.loads(pgtools("doctor", "--json").out)
    assert facts["pgtools"] == __version__
    assert {"torch", "cuda", "free disk here", "weights in"} <= facts.keys()
    assert "pgtools:" in pgtools("doctor").out


def test_store_info(pgtools, tmp_path) -> None:
    from pgtools.demo.faces import write_faces

    plain = ("--restore", "none", "--superres", "lanczos", "--workers", 1)
    write_faces(tmp_path / "photos", count=3, seed=0, layout="aligned")
    built = pgtools("build-celebahq", tmp_path / "photos", tmp_path / "a.lmdb", "--resolution", 16, *plain, "--json")
    assert json.loads(built.out)["kept"] == 3
    facts = json.loads(pgtools("store", "info", tmp_path / "a.lmdb", "--json").out)
    assert (facts["images"], facts["levels"]) == (3, [16, 8, 4])
    assert "images:      3" in pgtools("store", "info", tmp_path / "a.lmdb").out
