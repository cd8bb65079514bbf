"""The registry: the package's entries, the user's own, and what is wrong with a wrong one."""

from __future__ import annotations

import contextlib
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pgtools.errors import InputError, UsageError
from pgtools.models.entry import Model, parse_entry, url_fault
from pgtools.models.own import add, remove
from pgtools.models.registry import add_entry, drop_entry, model_named, registry, user_registry
from pgtools.models.weights import how_to_get
from tests.models.serving import tensors

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

GOOD = {"task": "test", "file": "a.pth", "licence": "MIT"}
HASH = "0123456789abcdef" * 4


def test_the_packages_registry_is_whole(own) -> None:
    models = registry()
    assert {"retinaface-mobile0.25", "fbcnn-color", "pgtools-dejpeg", "pgtools-sr4"} <= models.keys()
    for name, model in models.items():
        assert model.name == name and model.task and model.licence and model.architecture
        assert not model.own
        if not model.embedded:
            assert model.url.startswith("https://") and model.url.endswith(f"/{model.file}")
            assert model.source.startswith("https://")
            assert model.bytes and model.verifiable
            assert f"pgtools models fetch {name}`" in how_to_get(model)
    assert models["pgtools-sr4"].scale == 4 and models["pgtools-sr4"].embedded
    assert "non-commercial" in models["codeformer"].note and "spandrel_extra_arches" in models["codeformer"].note


def test_published_beginnings_of_hashes_are_those_of_the_hashes(own) -> None:
    """torch.hub's file names end in the first digits of the SHA-256."""
    for model in registry().values():
        digits = re.search(r"-([0-9a-f]{8})\.pth$", model.file)
        assert not digits or model.sha256.startswith(digits[1])
    assert model_named("inception-2015-12-05").sha256 == model_named("inception-pytorch-fid").sha256


def test_an_entry_of_ones_own(own) -> None:
    own.write_text(f'[mine]\ntask = "test"\nfile = "mine.pth"\nlicence = "MIT"\nsha256 = "{HASH}"\n')
    assert registry()["mine"] == Model("mine", "test", "mine.pth", "MIT", sha256=HASH, own=True)
    assert list(registry())[-1] == "mine"


def test_a_field_of_the_packages_said_otherwise(own) -> None:
    published = model_named("fbcnn-color")
    own.write_text('[fbcnn-color]\nurl = "https://mirror.example/fbcnn_color.pth"\n')
    assert model_named("fbcnn-color") == replace(published, url="https://mirror.example/fbcnn_color.pth", own=True)
    own.write_text('[fbcnn-color]\nsha256_prefix = "01234567"\n')
    changed = model_named("fbcnn-color")
    assert (changed.sha256, changed.bytes, changed.url) == ("", None, published.url)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[mine\n", r"models\.toml is no TOML: .*line 1"),
        ('mine = "x"', r"models\.toml, \[mine\]: expected a table"),
        ('[mine]\ntask = "a"\nfile = "b.pth"\n', r"models\.toml, \[mine\]: licence is missing"),
        ('[fbcnn-color]\nfile = "a/b.pth"', r"models\.toml, \[fbcnn-color\]: file is 'a/b\.pth'; expected a file name"),
        (
            '[mine]\ntask="a"\nlicence="b"\nfile="codeformer.pth"',
            r"\[mine\]: file is .* which is the file of codeformer",
        ),
        ('[mine]\ntask="a"\nlicence="b"\nfile="CodeFormer.pth"', "which is the file of codeformer"),
        ('[pgtools-sr4]\nfile="x.pth"', r"\[pgtools-sr4\]: only pgtools' own networks come with pgtools"),
        ('[mine]\nembedded=true\ntask="a"\nlicence="b"\nfile="x.pth"', "only pgtools' own"),
        ("a" * 3 + " = " + "[" * 5000, "is no TOML"),
        (b"\xff", "it is no UTF-8 text"),
    ],
)
def test_a_wrong_registry_is_one_clear_line(text, message, own) -> None:
    own.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=message) as caught:
        registry()
    assert "\n" not in caught.value.message
    assert str(own) in caught.value.message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sha256": "abc"}, "sha256 is 'abc'; expected 64 hex digits"),
        ({"sha256": HASH.upper()}, "expected 64 hex digits, in lower case"),
        ({"sha256": HASH[:8]}, "a published beginning is a sha256_prefix"),
        ({"sha256_prefix": HASH}, "expected 8 to 63 hex digits"),
        ({"sha256": HASH, "sha256_prefix": HASH[:8]}, "both sha256 and sha256_prefix"),
        ({"sha256_also": [HASH]}, "sha256_also without sha256"),
        ({"sha256": HASH, "sha256_also": HASH}, "expected a list of hashes"),
        ({"bytes": 0}, "bytes is 0; expected a whole number above 0"),
        ({"bytes": True}, "bytes is True"),
        ({"scale": 1.5}, "scale is 1.5"),
        ({"task": 3}, "task is 3; expected a text"),
        ({"task": ""}, "task is missing"),
        ({"note": "a\nb"}, "expected a text of one line"),
        ({"note": "a\x1b[2J"}, "expected a text of one line"),
        ({"colour": "red"}, "no field is called 'colour'"),
        ({"own": True}, "no field is called 'own'"),
        ({"embedded": 1}, "expected true or false"),
        *[({"file": name}, "expected a file name, without a folder") for name in (
            "../a.pth", "a\\b.pth", ".hidden.pth", "-rf.pth", "C:a.pth", "nul.pth", "COM1.x.pth",
            "x" * 200 + ".pth", "a?.pth",
        )],
        *[({"file": name}, "a name that ends in") for name in ("a.ckpt", "a.pkl", "a", "a.pth.exe")],
        *[({"url": address}, "url is .*; expected an address") for address in (
            "ftp://a.example/b", "file:///etc/passwd", "a.example/b", "https://", "http://a b/", "https://u:p@a.example/b",
            "http://[::1", "http://a:x/", "http://ä.example/",
        )],
        ({"source": "javascript:alert(1)"}, "source is .*; expected an address"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(fields, message) -> None:
    with pytest.raises(InputError, match=message) as caught:
        parse_entry("mine", {**GOOD, **fields}, "models.toml", own=True)
    assert caught.value.message.startswith("models.toml, [mine]: ")


@pytest.mark.parametrize("name", ["", "a b", "../a", "-a", ".a", "a" * 65, "ä", "a/b", "a\nb"])
def test_a_wrong_name_is_refused(name) -> None:
    with pytest.raises(InputError, match="the name has other characters"):
        parse_entry(name, GOOD, "models.toml", own=True)


def test_good_addresses() -> None:
    for address in ("http://127.0.0.1:8000/a/b?c=d", "https://a.example/%C3%A4", "http://[::1]:80/x"):
        assert url_fault(address) == ""


def test_an_unknown_name_is_told_with_what_there_is(own) -> None:
    with pytest.raises(UsageError, match=r"No network is called 'fbcnn'; there are .*fbcnn-color") as caught:
        model_named("fbcnn")
    assert "fbcnn-color" in caught.value.hint


def test_adding_leaves_the_rest_as_it_was(own) -> None:
    before = '# mine\n[first]\ntask = "test"\nfile = "first.pt"\nlicence = "MIT" # no newline'
    own.write_text(before)
    model = Model("second.2", 'a "quoted" \\ task', "second.pth", "MIT", sha256=HASH, bytes=7, note="ü 😀", own=True)
    add_entry(model)
    assert registry()["second.2"] == model
    assert own.read_text().startswith(before)
    assert drop_entry(model)
    assert own.read_text() == before + "\n"
    assert not drop_entry(model)


def test_what_the_user_changed_is_not_dropped(own) -> None:
    model = Model("second", "test", "second.pth", "MIT", own=True)
    add_entry(model)
    changed = own.read_text().replace("MIT", "Apache-2.0")
    own.write_text(changed)
    assert not drop_entry(model)
    assert own.read_text() == changed


@pytest.mark.parametrize("before", ["", f'[aa]\ntask = "test"\nfile = "aa.pth"\nlicence = "MIT"\nsha256 = "{HASH}"\n'])
def test_an_entry_with_fields_added_is_not_dropped(own, before: str) -> None:
    """Its last line would be left behind, to be read as one of the entry before it."""
    own.write_text(before)
    model = Model("bb", "test", "bb.pth", "MIT", sha256=HASH, own=True)
    add_entry(model)
    added = own.read_text() + f'sha256_also = ["{HASH[::-1]}"]\n'
    own.write_text(added)
    assert not drop_entry(registry()["bb"])
    assert own.read_text() == added


def test_what_only_looks_like_an_entry_is_left_alone(own) -> None:
    model = Model("bb", "test", "bb.pth", "MIT", own=True)
    add_entry(model)
    block = own.read_text()
    for text in (f"[aa]\nnote = '''\n{block}'''\n", f"# {block}", f"aa = {block}"):
        own.write_text(f'{text}[bb]\ntask = "test"\nfile = "bb.pth"\nlicence = "MIT"\n')
        if text.startswith("#"):
            own.write_text(text.replace("task", "[cc]\ntask"))
        before = own.read_text()
        with contextlib.suppress(InputError):
            assert not drop_entry(model)
        assert own.read_text() == before


def test_a_linked_registry_stays_a_link(own, cache, tmp_path) -> None:
    kept = tmp_path / "dotfiles/models.toml"
    kept.parent.mkdir()
    kept.write_text("# mine\n")
    own.symlink_to(kept)
    (tmp_path / "bb.safetensors").write_bytes(tensors(0, 10))
    model = add(tmp_path / "bb.safetensors", Model("bb", "test", "bb.safetensors", "MIT"))
    assert own.is_symlink() and "bb.safetensors" in kept.read_text()
    assert remove(model)
    assert own.is_symlink() and kept.read_text() == "# mine\n"


def test_the_users_registry_is_where_it_is_said(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PGTOOLS_MODELS", str(tmp_path / "x.toml"))
    assert user_registry() == tmp_path / "x.toml"
    monkeypatch.delenv("PGTOOLS_MODELS")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert user_registry().parts[-2:] == ("pgtools", "models.toml")


def test_the_documents_name_every_network_and_every_field() -> None:
    page = (Path(__file__).parents[2] / "docs/models.md").read_text("utf-8")
    known = tomllib.loads((Path(__file__).parents[2] / "pgtools/models/registry.toml").read_text("utf-8"))
    for name in known:
        assert f"`{name}`" in page, name
    for field in {key for table in known.values() for key in table} | {"sha256_prefix"}:
        assert f"`{field}`" in page, field
