"""`pgtools models`: what its commands print, ask, and exit with."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys

import pytest

from pgtools.models.registry import registry
from tests.models.serving import entry, file, leftovers, tensors

CONTENT = tensors(0, 100)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def toy(server, own):
    own.write_text(entry(CONTENT, f"{server.address}/toy.safetensors", note="A toy."))
    server.answers = [file(CONTENT)]
    return server


def test_list(pgtools, toy, cache) -> None:
    cache.mkdir()
    (cache / "detection_Resnet50_Final.pth").write_bytes(b"")
    (cache / "toy.safetensors").write_bytes(CONTENT)
    listed = {model["name"]: model for model in json.loads(pgtools("models", "list", "--json").out)}
    assert (listed["toy"]["state"], listed["toy"]["present"], listed["toy"]["own"]) == ("present", True, True)
    assert (listed["retinaface-resnet50"]["state"], listed["retinaface-resnet50"]["present"]) == ("damaged", False)
    assert listed["inception-2015-12-05"]["state"] == "missing"
    told = pgtools("models", "list")
    assert told.code == 0
    lines = {line.split()[0]: line for line in told.out.splitlines()}
    assert "damaged" in lines["retinaface-resnet50"] and "109.5 MB" in lines["retinaface-resnet50"]
    for word in ("missing", "287.8 MB", "Apache-2.0", "JPEG artifacts", "FBCNN", "github.com/jiaxi-jiang/FBCNN"):
        assert word in lines["fbcnn-color"]
    assert "toy*" in lines
    assert told.err.count(str(cache)) == 1


@pytest.mark.parametrize("width", [40, 80, 100, 200])
def test_no_name_is_cut_in_a_narrow_terminal(width, pgtools, own, monkeypatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((width, 30)))
    monkeypatch.setenv("COLUMNS", str(width))
    outcome = pgtools("models", "list")
    assert all(line.split()[0] in registry() for line in outcome.out.splitlines()[1:])
    assert ("task" in outcome.out) == (width >= 80)
    assert ("github.com/sczhou/CodeFormer" in outcome.out) == ("--json" not in outcome.err) == (width == 200)


def test_list_says_what_nobody_has_published_a_hash_of(pgtools, own) -> None:
    own.write_text(entry(None, "https://a.example/toy.safetensors"))
    assert "missing, unverified" in pgtools("models", "list").out


def test_list_loads_nothing_heavy(cache) -> None:
    import subprocess

    code = "import sys; from pgtools.cli import run; run(['models', 'list']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_fetch_then_path(pgtools, toy, cache) -> None:
    outcome = pgtools("models", "path", "toy")
    assert (outcome.code, outcome.out) == (1, "")
    assert "`pgtools models fetch toy`" in outcome.err
    outcome = pgtools("models", "fetch", "toy")
    assert outcome.code == 0, outcome.err
    assert re.fullmatch(r"toy: downloaded, \d+ B, SHA-256 \(registry\): .*toy\.safetensors\n", outcome.out)
    assert "toy: A toy." in outcome.err
    assert pgtools("models", "path", "toy").out == f"{cache / 'toy.safetensors'}\n"
    (again,) = json.loads(pgtools("models", "fetch", "toy", "--json").out)
    assert (again["outcome"], again["sha256"]) == ("present", DIGEST)
    assert len(toy.asked) == 1


def test_what_fails_does_not_keep_the_others_back(pgtools, toy, own, cache) -> None:
    own.write_text(entry(CONTENT, f"{toy.address}/x", name="bad", bytes=7) + own.read_text())
    outcome = pgtools("models", "fetch", "bad", "toy")
    assert outcome.code == 1
    assert "toy: downloaded" in outcome.out
    assert "bad: http" in outcome.err
    assert "Error: 1 of 2 were not fetched: bad." in outcome.err
    assert leftovers(cache) == ["toy.safetensors"]


def test_wrong_usage(pgtools, toy) -> None:
    assert pgtools("models", "fetch").code == 2
    assert pgtools("models", "fetch", "toy", "--all").code == 2
    outcome = pgtools("models", "fetch", "tou")
    assert outcome.code == 2
    assert "Did you mean toy?" in outcome.err


def test_verify(pgtools, toy, cache) -> None:
    assert pgtools("models", "verify").code == 0
    pgtools("models", "fetch", "toy")
    outcome = pgtools("models", "verify")
    assert outcome.code == 0 and DIGEST in outcome.out
    (cache / "toy.safetensors").write_bytes(CONTENT[:-1] + b"x")
    outcome = pgtools("models", "verify")
    assert outcome.code == 1
    assert f"toy.safetensors should have SHA-256 {DIGEST}" in outcome.err
    assert "pgtools models fetch toy" in outcome.err
    found = {one["name"]: one for one in json.loads(pgtools("models", "verify", "toy", "--json").out)}
    assert found["toy"]["state"] == "damaged" and found["toy"]["expected"] == DIGEST
    assert pgtools("models", "verify", "fbcnn-color").code == 1


def test_add_and_remove(pgtools, own, cache, tmp_path) -> None:
    mine = tmp_path / "mine.safetensors"
    mine.write_bytes(CONTENT)
    own.write_text("# my networks\n")
    outcome = pgtools("models", "add", mine, "--name", "mine", "--task", "denoising", "--scale", 2, "--licence", "MIT")
    assert outcome.code == 0, outcome.err
    assert DIGEST in outcome.out and str(own) in outcome.err
    listed = {model["name"]: model for model in json.loads(pgtools("models", "list", "--json").out)}["mine"]
    assert (listed["task"], listed["scale"], listed["sha256"], listed["bytes"]) == (
        "denoising",
        2,
        DIGEST,
        len(CONTENT),
    )
    assert pgtools("models", "path", "mine").out == f"{cache / 'mine.safetensors'}\n"
    again = pgtools("models", "add", mine, "--name", "mine")
    assert again.code == 1 and "already called mine" in again.err
    again = pgtools("models", "add", mine, "--name", "other")
    assert again.code == 1 and "is the name of mine's file" in again.err
    outcome = pgtools("models", "remove", "mine")
    assert (outcome.code, outcome.out) == (0, "mine: removed\n")
    assert own.read_text() == "# my networks\n"
    assert leftovers(cache) == [] and mine.exists()
    assert pgtools("models", "path", "mine").code == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["absent.pth", "--name", "a"], "absent.pth is not a file"),
        (["mine.ckpt", "--name", "a"], "expected a name that ends in"),
        (["mine.safetensors", "--name", "a b"], "the name has other characters"),
        (["mine.safetensors", "--name", "codeformer"], "already called codeformer"),
        (["mine.safetensors", "--name", "a", "--source", "here"], "source is 'here'"),
        (["mine.safetensors", "--name", "a", "--note", "x\ny"], "a text of one line"),
    ],
)
def test_what_add_refuses(pgtools, own, cache, tmp_path, monkeypatch, words, message) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mine.safetensors", "mine.ckpt"):
        (tmp_path / name).write_bytes(CONTENT)
    outcome = pgtools("models", "add", *words)
    assert outcome.code == 1
    assert message in outcome.err and "Traceback" not in outcome.err
    assert not own.exists() and leftovers(cache) == []


def test_remove_asks_at_a_terminal(pgtools, toy, cache, monkeypatch) -> None:
    pgtools("models", "fetch", "toy")
    monkeypatch.setattr("pgtools.cli.models.remove.at_a_terminal", lambda: True)
    monkeypatch.setattr("click.confirm", lambda question, **how: False)
    outcome = pgtools("models", "remove", "toy")
    assert outcome.code == 1 and "Nothing was changed" in outcome.err
    assert leftovers(cache) == ["toy.safetensors"]
    outcome = pgtools("models", "remove", "toy", "--yes")
    assert outcome.code == 0
    assert "Its entry stays" in outcome.err
    assert leftovers(cache) == []
    outcome = pgtools("models", "remove", "toy", "--yes")
    assert outcome.code == 1 and "There is no file of toy" in outcome.err


def test_a_wrong_registry_stops_what_needs_it_and_shows_in_doctor(pgtools, own) -> None:
    own.write_text('[toy]\ntask = "x"\nlicence = "y"\nfile = "a/b.pth"\n')
    outcome = pgtools("models", "list")
    assert outcome.code == 1
    assert "models.toml, [toy]: file is 'a/b.pth'" in outcome.err
    facts = json.loads(pgtools("doctor", "--json").out)
    assert "[toy]" in facts["registry"]
    assert facts["weights in"]


def test_doctor_says_where_networks_are(pgtools, toy, cache) -> None:
    pgtools("models", "fetch", "toy")
    facts = json.loads(pgtools("doctor", "--json").out)
    assert facts["weights in"] == str(cache)
    assert (facts["toy"], facts["fbcnn-color"]) == ("present", "missing")
