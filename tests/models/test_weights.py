"""Names become files; hashes that nobody has published are recorded at the first fetch, and hold from then on."""

from __future__ import annotations

import hashlib
import json

import pytest

from pgtools.errors import InputError, MissingModelError, UsageError
from pgtools.models import weights
from pgtools.models.fetch import fetch
from pgtools.models.own import remove
from pgtools.models.registry import model_named, registry
from pgtools.models.verify import verify
from tests.models.serving import entry, file, tensors

CONTENT, OTHER = tensors(0, 100), tensors(1, 100)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def put(cache, content: bytes, name: str = "toy.safetensors") -> None:
    cache.mkdir(exist_ok=True)
    (cache / name).write_bytes(content)


def test_a_missing_network_is_told_with_the_command_that_gets_it(cache) -> None:
    with pytest.raises(MissingModelError, match="inception-2015-12-05") as caught:
        weights.find("inception-2015-12-05")
    assert "`pgtools models fetch inception-2015-12-05` downloads it (95.6 MB)" in caught.value.hint
    assert "`pgtools models fetch inception-2015-12-05 --from FILE`" in caught.value.hint
    assert "https://github.com/toshas/" in caught.value.hint
    assert (caught.value.message + caught.value.hint).count(str(cache)) == 1


def test_one_without_an_address_too(own) -> None:
    own.write_text(entry(None, ""))
    with pytest.raises(MissingModelError) as caught:
        weights.find("toy")
    assert caught.value.hint.startswith("`pgtools models fetch toy --from FILE`")


def test_a_given_file_comes_first_and_must_be_there(cache, tmp_path) -> None:
    mine = tmp_path / "mine.pth"
    with pytest.raises(MissingModelError, match=r"mine\.pth is not a file"):
        weights.find("inception-2015-12-05", mine)
    mine.write_bytes(b"x")
    assert weights.find("inception-2015-12-05", mine) == mine


def test_a_cached_file_must_have_the_published_hash(own, cache) -> None:
    own.write_text(entry(CONTENT, "https://a.example/toy.safetensors"))
    put(cache, OTHER)
    with pytest.raises(InputError, match="is not the published file of toy") as caught:
        weights.find("toy")
    assert digest(CONTENT) in caught.value.message and digest(OTHER) in caught.value.message
    assert "pgtools models fetch toy" in caught.value.hint
    put(cache, CONTENT)
    assert weights.find("toy") == cache / "toy.safetensors"


def test_another_published_hash_will_do(own, cache) -> None:
    text = entry(CONTENT, "https://a.example/toy.safetensors") + f'sha256_also = ["{digest(OTHER)}"]\n'
    own.write_text(text)
    for content in (CONTENT, OTHER):
        put(cache, content)
        assert weights.find("toy")
    own.write_text(entry(CONTENT, ""))
    with pytest.raises(InputError, match="published"):
        weights.find("toy")


def test_a_published_beginning_must_fit(own, cache, server) -> None:
    own.write_text(entry(None, f"{server.address}/toy.safetensors", sha256_prefix=digest(CONTENT)[:8]))
    server.answers = [file(OTHER), file(CONTENT)]
    with pytest.raises(InputError, match=f"expected {digest(CONTENT)[:8]}…"):
        fetch(model_named("toy"))
    assert fetch(model_named("toy")).known_by == "recorded"
    assert verify(["toy"])[0].expected == digest(CONTENT)


def test_embedded_networks_come_with_the_package(cache, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(weights, "files", lambda package: tmp_path)
    with pytest.raises(MissingModelError, match="not in this installation") as caught:
        weights.find("pgtools-dejpeg")
    assert "pip" in caught.value.hint
    folder = tmp_path / "restoration" / "weights"
    folder.mkdir(parents=True)
    (folder / "pgtools-dejpeg.safetensors").write_bytes(CONTENT)
    sure = model_named("pgtools-dejpeg").sha256
    if not sure:
        assert weights.find("pgtools-dejpeg") == folder / "pgtools-dejpeg.safetensors"
    assert weights.state_of(model_named("pgtools-dejpeg")) in ("embedded", "damaged")
    assert fetch(model_named("pgtools-dejpeg")).outcome == "present"
    with pytest.raises(InputError, match="comes with pgtools"):
        remove(model_named("pgtools-dejpeg"))


def test_embedded_networks_that_are_there_are_right(cache) -> None:
    for model in registry().values():
        if model.embedded and weights.file_of(model).is_file():
            assert weights.find(model.name).parent.parts[-3:] == ("pgtools", "restoration", "weights")


def test_states(own, cache) -> None:
    own.write_text(entry(CONTENT, "https://a.example/toy.safetensors"))
    states = [weights.state_of(model_named("toy"))]
    put(cache, CONTENT[:9], ".toy.safetensors.partial")
    states.append(weights.state_of(model_named("toy")))
    put(cache, CONTENT[:9])
    states.append(weights.state_of(model_named("toy")))
    put(cache, OTHER)
    states.append(weights.state_of(model_named("toy")))
    assert states == ["missing", "partial", "damaged", "present"]  # its bytes are not read here


@pytest.fixture
def unknown(own, server):
    own.write_text(entry(None, f"{server.address}/toy.safetensors"))
    return server


def test_the_first_fetch_is_trusted_and_later_ones_must_agree(unknown, cache) -> None:
    unknown.answers = [file(CONTENT), file(OTHER, tag='"2"')]
    assert fetch(model_named("toy")).known_by == "recorded"
    kept = json.loads((cache / "hashes.json").read_text())["toy"]
    assert (kept["sha256"], kept["from"]) == (digest(CONTENT), f"{unknown.address}/toy.safetensors")
    assert verify()[-1].state == "ok"
    (cache / "toy.safetensors").unlink()
    with pytest.raises(InputError, match="is not the first fetched file of toy") as caught:
        fetch(model_named("toy"))
    assert digest(CONTENT) in caught.value.message and digest(OTHER) in caught.value.message
    assert "pgtools models remove toy" in caught.value.hint
    assert not (cache / "toy.safetensors").exists()
    put(cache, OTHER)
    with pytest.raises(InputError, match="first fetched"):
        weights.find("toy")
    assert verify(["toy"])[0].state == "damaged"
    remove(model_named("toy"))
    assert fetch(model_named("toy")).sha256 == digest(OTHER)


def test_a_file_that_was_put_there_is_unverified_until_it_is_fetched(unknown, cache) -> None:
    put(cache, OTHER)
    assert weights.find("toy") == cache / "toy.safetensors"
    assert (verify()[-1].state, verify()[-1].sha256) == ("unverified", digest(OTHER))
    unknown.answers = [file(CONTENT)]
    assert fetch(model_named("toy")).outcome == "downloaded"


@pytest.mark.parametrize("text", ["[", "[1]", '{"toy": 3}', "[" * 20_000])
def test_a_record_that_cannot_be_read_is_no_empty_one(text, unknown, cache) -> None:
    put(cache, text.encode(), "hashes.json")
    put(cache, CONTENT)
    with pytest.raises(InputError, match=r"hashes\.json (cannot be read|is no table)"):
        weights.find("toy")


def test_what_verify_finds(own, cache) -> None:
    own.write_text(entry(CONTENT, "") + entry(CONTENT, "", name="two") + entry(CONTENT, "", name="three"))
    put(cache, CONTENT)
    put(cache, OTHER, "two.safetensors")
    found = {one.name: one for one in verify() if one.name in ("toy", "two", "three")}
    assert {name: one.state for name, one in found.items()} == {"toy": "ok", "two": "damaged"}
    assert (found["two"].sha256, found["two"].expected) == (digest(OTHER), digest(CONTENT))
    named = verify(["three", "toy"])
    assert [(one.state, one.faulty) for one in named] == [("missing", True), ("ok", False)]
    with pytest.raises(UsageError):
        verify(["four"])
