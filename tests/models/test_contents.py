"""Weights-only files, and all the others that look like them."""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from pgtools.errors import InputError
from pgtools.models.contents import check_contents
from pgtools.models.entry import Model
from pgtools.models.fetch import fetch
from pgtools.models.own import add
from pgtools.models.registry import model_named
from tests.models.serving import entry, file, leftovers, tensors

STATE = {"a.weight": torch.zeros(2, 3), "a.count": torch.tensor(1)}


class Trap:
    """Loading its pickle makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def written(folder: Path, kind: str) -> Path:
    """A file of weights, or one that is none; a trap springs in folder/sprung."""
    path = folder / "network.pth"
    trap = Trap(folder / "sprung")
    if kind == "safetensors":
        path = path.with_suffix(".safetensors")
        path.write_bytes(tensors(0, 10))
    elif kind == "cut safetensors":
        path = path.with_suffix(".safetensors")
        path.write_bytes(tensors(0, 10)[:-1])
    elif kind == "pickle as safetensors":
        path = path.with_suffix(".safetensors")
        path.write_bytes(pickle.dumps(trap))
    elif kind in ("pickle", "text", "empty"):
        path.write_bytes({"pickle": pickle.dumps(trap, protocol=2), "text": b"<html>", "empty": b""}[kind])
    elif kind == "TorchScript":
        torch.jit.save(torch.jit.script(torch.nn.Identity()), path)
    elif kind in ("compressed", "cut", "zip"):
        torch.save(STATE, path)
        if kind == "cut":
            path.write_bytes(path.read_bytes()[:-200])
            return path
        with zipfile.ZipFile(path) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        parts = parts if kind == "compressed" else {"readme": b"x"}
        with zipfile.ZipFile(
            path, "w", zipfile.ZIP_DEFLATED if kind == "compressed" else zipfile.ZIP_STORED
        ) as archive:
            for name, part in parts.items():
                archive.writestr(name, part)
    else:
        saved = {
            "plain": STATE,
            "ordered": OrderedDict(STATE),
            "wrapped": {"params_ema": STATE, "step": 3},
            "legacy": STATE,
            "no tensors": {"a": 1},
            "a list": [torch.zeros(1)],
            "trap inside": {**STATE, "b": trap},
            "a module": torch.nn.Linear(1, 1),
            "legacy trap": {**STATE, "b": trap},
        }[kind]
        torch.save(saved, path, _use_new_zipfile_serialization="legacy" not in kind)
    return path


@pytest.mark.parametrize("kind", ["safetensors", "plain", "ordered", "wrapped", "legacy"])
def test_weights_are_taken(kind, tmp_path) -> None:
    path = written(tmp_path, kind)
    check_contents(path, path.suffix, "it")


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")  # of torch.jit
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("pickle", "no weights-only file"),
        ("trap inside", "no weights-only file"),
        ("legacy trap", "no weights-only file"),
        ("a module", "no weights-only file"),
        ("pickle as safetensors", "no weights-only file"),
        ("TorchScript", "a TorchScript archive, which is a program"),
        ("compressed", "its entries are compressed"),
        ("zip", "no weights-only file"),
        ("cut", "no weights-only file"),
        ("cut safetensors", "no weights-only file"),
        ("text", "no weights-only file"),
        ("empty", "no weights-only file"),
        ("no tensors", "holds no tensors"),
        ("a list", "holds no tensors"),
    ],
)
def test_everything_else_is_refused_and_not_run(kind, message, tmp_path, cache, own) -> None:
    path = written(tmp_path, kind)
    with pytest.raises(InputError, match=rf"network\.\w+ (is|holds) .*{message.split()[-1]}") as caught:
        check_contents(path, path.suffix, str(path))
    assert message in caught.value.message and "\n" not in caught.value.message
    own.write_text(entry(None, "").replace("toy.safetensors", f"toy{path.suffix}"))
    with pytest.raises(InputError, match=message):
        fetch(model_named("toy"), str(path))
    own.unlink()
    with pytest.raises(InputError, match=message):
        add(path, Model("mine", "test", path.name, "MIT", own=True))
    assert leftovers(cache) == [] and not own.exists()
    assert not (tmp_path / "sprung").exists()


def test_a_downloaded_trap_does_not_spring(tmp_path, server, own, cache) -> None:
    content = written(tmp_path, "trap inside").read_bytes()
    own.write_text(entry(content, f"{server.address}/toy.pth").replace("toy.safetensors", "toy.pth"))
    server.answers = [file(content)]
    with pytest.raises(InputError, match="no weights-only file"):
        fetch(model_named("toy"))
    assert leftovers(cache) == []
    assert not (tmp_path / "sprung").exists()


def test_other_endings_are_refused(tmp_path) -> None:
    with pytest.raises(InputError, match=r"expected a name that ends in \.safetensors, \.pth, \.pt"):
        check_contents(tmp_path / "a.ckpt", ".ckpt", "a.ckpt")
