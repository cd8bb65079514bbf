"""`pgtools bench build`: its rows, its table, its refusals."""

from __future__ import annotations

import json

import pytest

from tests.restoration.networks import tiny_compact

pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
QUICK = ("--count", 2, "--resolution", 16, "--repeats", 1)
NETWORKS = ("--networks", "--device", "cpu")


def test_drawn_faces_as_json(pgtools, tmp_path) -> None:
    network = tiny_compact(tmp_path / "net.safetensors", 4)
    folder = tmp_path / "disk"
    done = pgtools("bench", "build", *QUICK, *NETWORKS, "--network", network, "--folder", folder, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["protocol"]["images"] == "drawn faces"
    assert found["protocol"]["cores"] >= 1
    steps = {(row["step"], row["way"]) for row in found["rows"]}
    assert {("decode", "pgtools"), ("score", "pgtools"), ("network, crop, score", "net, float32")} <= steps
    assert sum(row["photos"] for row in found["rows"] if row["way"] == "plain") == 2
    assert list(folder.iterdir()) == []


def test_photos_of_a_folder_as_a_table(pgtools, tmp_path) -> None:
    assert pgtools("demo", "faces", tmp_path / "faces", "--count", 3).code == 0
    done = pgtools("bench", "build", "--photos", tmp_path / "faces", *QUICK, "--whole")
    assert done.code == 0, done.err
    for text in ("to 16²", "1 worker", "plain", "1.00 (1.00–1.00)", "in brackets lowest and highest"):
        assert text in done.out, text


def test_fewer_photos_than_asked_for_are_told(pgtools, tmp_path) -> None:
    assert pgtools("demo", "faces", tmp_path / "faces", "--count", 2).code == 0
    done = pgtools("bench", "build", "--photos", tmp_path / "faces", *QUICK, "--count", 5)
    assert done.code == 0, done.err
    assert "faces has 2 photos with landmarks, so a round has 2, not 5." in done.err
    assert "has 2 photos" not in pgtools("bench", "build", "--photos", tmp_path / "faces", *QUICK).err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--resolution", "100"), 2, "--resolution is 100; expected a power of two"),
        (("--resolution", "2048"), 2, "--resolution is 2048"),
        ((*NETWORKS, "--network", "nonsense"), 2, "'nonsense' is no network"),
        ((*NETWORKS, "--network", "pgtools-dejpeg"), 2, "does not enlarge"),
        (
            (*NETWORKS, "--precision", "foo"),
            2,
            "Invalid value for '--precision': 'foo' is not one of 'auto', 'float32'",
        ),
        (("--network", "pgtools-sr4"), 2, "--network is about a network, and none takes part."),
        (("--batch", "1"), 2, "--batch is about a network"),
        (("--precision", "float32"), 2, "--precision is about a network"),
        (("--device", "cpu"), 2, "--device is about a network"),
        (("--photos", "nowhere"), 1, "nowhere is missing"),
    ],
)
def test_bad_words_are_one_line(pgtools, words, code: int, message: str) -> None:
    done = pgtools("bench", "build", *QUICK, *words)
    assert done.code == code
    assert message in done.err.splitlines()[0]
    assert done.out == ""
