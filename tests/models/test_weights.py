import dataclasses
import hashlib

import pytest

from pgtools.errors import InputError, MissingModelError
from pgtools.models import weights


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PGTOOLS_CACHE", str(tmp_path))
    return tmp_path


def test_the_registry_is_whole() -> None:
    for name, model in weights.registry().items():
        assert model.name == name
        assert model.url.startswith("https://") and model.url.endswith(model.file)
        assert model.licence and model.task


def test_a_missing_model_says_how_to_get_it(cache) -> None:
    with pytest.raises(MissingModelError) as caught:
        weights.find("inception-2015-12-05")
    assert "https://" in caught.value.hint
    assert str(cache) in caught.value.hint


def test_a_given_file_comes_first_and_must_be_there(cache) -> None:
    mine = cache / "mine.pth"
    with pytest.raises(MissingModelError, match=r"mine\.pth is not a file"):
        weights.find("inception-2015-12-05", mine)
    mine.write_bytes(b"x")
    assert weights.find("inception-2015-12-05", mine) == mine


def test_a_cached_file_must_have_the_published_hash(cache, monkeypatch) -> None:
    model = weights.registry()["retinaface-mobile0.25"]
    file = cache / model.file
    file.write_bytes(b"something else")
    with pytest.raises(InputError, match="published SHA-256"):
        weights.find(model.name)
    right = dataclasses.replace(model, sha256=hashlib.sha256(b"something else").hexdigest())
    monkeypatch.setattr(weights, "registry", lambda: {model.name: right})
    assert weights.find(model.name) == file
