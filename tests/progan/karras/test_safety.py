"""Pickles that want to run something, or to fill the memory: each is refused in one line and leaves no trace."""

from __future__ import annotations

import builtins
import codecs
import os
import pickle
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pgtools.errors import InputError
from pgtools.progan.config import Architecture
from pgtools.progan.discriminator import Discriminator
from pgtools.progan.generator import Generator
from pgtools.progan.karras.reading import read_average, read_karras
from tests.conftest import Outcome
from tests.progan.karras.theano import Sizes, TheanoGenerator
from tests.progan.karras.writing import TensorFlowNetwork, TheanoNetwork, first, released

Check = Callable[[], None]
SHAPE = Architecture(8, latent=6, fmap_base=64, fmap_max=8)
TOUCH = "touch was-here"


class Hostile:
    """Asks the reader to call something."""

    def __init__(self, call: Any, *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call, self.arguments


def laughs(depth: int = 60) -> list[Any]:
    """A list of 2^60 items, in a few bytes."""
    found: list[Any] = ["ha"]
    for _ in range(depth):
        found = [found, found]
    return found


def good() -> TensorFlowNetwork:
    return released(Generator(SHAPE, 1), SHAPE)


def triple(**state: Any) -> tuple[Any, ...]:
    """(G, D, Gs), the last with other fields in its state."""
    odd = TensorFlowNetwork({**good().state, **state})
    return good(), released(Discriminator(SHAPE), SHAPE), odd


def refused(path: Path, pgtools: Callable[..., Outcome], unharmed: Check) -> str:
    """Return the one line in which both commands refuse a pickle."""
    imported = pgtools("models", "import-karras", path, "out.safetensors")
    generated = pgtools("generate", path, "fakes", "--count", 1)
    for outcome in (imported, generated):
        assert outcome.code == 1
        assert outcome.out == ""
        lines = outcome.err.strip().splitlines()
        assert lines[0].startswith("Error: ")
        assert path.name in lines[0]
        assert all(line.startswith("  ") for line in lines[1:])  # the next step
        assert len(outcome.err) < 500 + 2 * len(str(path))
    unharmed()
    return imported.err


@pytest.mark.parametrize(
    ("hostile", "name"),
    [
        (Hostile(os.system, TOUCH), f"{os.system.__module__}.system"),
        (Hostile(builtins.eval, "open('was-here', 'w')"), ".eval"),
        (Hostile(builtins.exec, "open('was-here', 'w')"), ".exec"),
        (Hostile(builtins.getattr, Hostile(builtins.getattr, "x", "upper"), "__call__"), ".getattr"),
        (Hostile(codecs.decode, b"x", "zip"), "codecs"),
        (Hostile(np.load, "x.npy"), "numpy"),
        (Hostile(torch.load, "x.pt"), "torch"),
        (Path("x"), "pathlib"),
        (np.array([Path("x")], dtype=object), "pathlib"),
    ],
    ids=["os.system", "eval", "exec", "getattr", "codecs", "numpy", "torch", "class", "in an array"],
)
@pytest.mark.parametrize("protocol", [2, 5])
def test_any_other_name_refuses_the_file(
    tmp_path: Path, unharmed: Check, hostile: object, name: str, protocol: int
) -> None:
    file = tmp_path / "evil.pkl"
    for place in (hostile, (hostile, hostile, hostile), triple(static_kwargs={"resolution": hostile})):
        file.write_bytes(pickle.dumps(place, protocol))
        for read in (read_karras, read_average):
            with pytest.raises(InputError, match=r"evil\.pkl is no snapshot of the authors'") as caught:
                read(file)
            assert name in caught.value.message
    unharmed()


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps(Hostile(os.system, TOUCH), 2),
        # A way past a list of names that looks at the first part alone: Network.__setstate__.__globals__ and so on.
        b"\x80\x04\x8c\x06tfutil\x8c\x25Network.__setstate__.__globals__.clear\x93)R.",
        b"\x80\x04\x8c\x06tfutil\x8c\x08__dict__\x93.",
        b"ctfutil\nNetwork\n(S'x'\ntR}b.",  # arguments for a class that takes none
        b"ctfutil\nNetwork\n}b.",  # state set on the class itself
        b"c_codecs\nencode\n(Vabc\nVzip\ntR.",
        b"c_codecs\nencode\n}S'x'\nS'y'\nsb.",  # state set on a function
        b"Pname\n.",  # a persistent id
        b"(iposix\nsystem\n.",
        b"\x82\x01.",  # the registry of extensions
        b"",
        b"nonsense",
        b"\x1f\x8b\x08\x00",  # gzip
        b"\x80\x05",
        b"\x80\x05\x95\xff\xff\xff\xff\xff\xff\xff\x7fN.",  # a frame of 2^63 bytes
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fN.",  # bytes of 2^63
        pickle.dumps(np.array([{}], dtype=object)),
        pickle.dumps(np.zeros(3, "V8")),
        pickle.dumps(np.zeros(3, "U4")),
        pickle.dumps((np.arange(8, dtype=np.float32),) * 3, 4).replace(b"K\x08\x85", b"K\x09\x85", 1),
        b"(" * 20_000 + b"t" * 20_000 + b".",
    ],
    ids=lambda data: data[:12].hex(),
)
def test_damaged_and_odd_pickles_are_refused(tmp_path: Path, unharmed: Check, data: bytes) -> None:
    file = tmp_path / "odd.pkl"
    file.write_bytes(data)
    for read in (read_karras, read_average):
        with pytest.raises(InputError, match=r"odd\.pkl"):
            read(file)
    unharmed()


def test_the_commands_say_it_in_one_line(tmp_path: Path, unharmed: Check, pgtools: Callable[..., Outcome]) -> None:
    file = tmp_path / "evil.pkl"
    file.write_bytes(pickle.dumps(triple(static_kwargs=Hostile(os.system, TOUCH)), 2))
    said = refused(file, pgtools, unharmed)
    assert f"it asks for {os.system.__module__}.system" in said
    assert "refused before anything in it could run" in said


def test_the_source_text_in_a_pickle_is_never_run(tmp_path: Path, unharmed: Check) -> None:
    sizes = Sizes(resolution=8)
    words = {"resolution": 8, "fmap_base": 24, "fmap_max": 6, "latent_size": 5, "num_channels": 3}
    for network in (good(), first("G_paper", TheanoGenerator(sizes, 1).stored, **words)):
        assert "was-here" in network.state["build_module_src"]
        file = tmp_path / "Gs.pkl"
        file.write_bytes(pickle.dumps(network, 2))
        read_karras(file)
        read_average(file)
    unharmed()


@pytest.mark.parametrize(
    "networks",
    [
        laughs(),
        [laughs(), laughs(), laughs()],
        triple(version=laughs()),
        triple(static_kwargs=laughs()),
        triple(static_kwargs={**good().state["static_kwargs"], "resolution": laughs()}),
        triple(static_kwargs={**good().state["static_kwargs"], "use_pixelnorm": laughs()}),
        triple(variables=laughs()),
        triple(variables=[(laughs(), laughs())]),
        triple(variables=[("4x4/Dense/weight", laughs())]),
        triple(variables=[*good().state["variables"][1:], ("lod", laughs())]),
        triple(name=laughs(), variables=laughs()),
        TheanoNetwork({"build_func_spec": laughs()}),
        TheanoNetwork({"build_func_spec": {"func": laughs()}}),
        TheanoNetwork({"build_func_spec": {"func": "G_paper", "resolution": 4}, "param_values": laughs()}),
        TheanoNetwork({"build_func_spec": {"func": "G_paper", "resolution": 4}, "param_values": [laughs()] * 9}),
    ],
    ids=range(15),
)
def test_a_list_without_end_costs_nothing(
    tmp_path: Path, unharmed: Check, pgtools: Callable[..., Outcome], networks: object
) -> None:
    file = tmp_path / "laughs.pkl"
    file.write_bytes(pickle.dumps(networks, 4))
    refused(file, pgtools, unharmed)


def test_a_name_without_end_is_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "Gs.pkl"
    file.write_bytes(pickle.dumps(TensorFlowNetwork({**good().state, "name": laughs()}), 4))
    assert read_karras(file).names == ("a list",)
    file.write_bytes(pickle.dumps(TensorFlowNetwork({**good().state, "name": "\x1b[2J" + "G" * 99}), 4))
    (name,) = read_karras(file).names
    assert name.isprintable()
    assert len(name) < 80


def peak_of(read: Callable[[], object]) -> int:
    """The most bytes that Python and NumPy held at once."""
    tracemalloc.start()
    try:
        read()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_one_array_under_many_names_is_counted_each_time(tmp_path: Path) -> None:
    # Twelve resolutions of the same width could hold one array 22 times.
    shape = Architecture(8192, latent=64, fmap_base=1 << 20, fmap_max=64)
    array = np.zeros((3, 3, 64, 64), np.float32)
    levels = [2**k for k in range(3, 14)]
    variables = [(f"{level}x{level}/Conv{k}/weight", array) for level in levels for k in (0, 1)]
    network = released(Generator(SHAPE), SHAPE, resolution=8192, latent_size=64, fmap_base=1 << 20, fmap_max=64)
    network.state["variables"] = [*variables, ("4x4/Dense/weight", array)]
    file = tmp_path / "many.pkl"
    file.write_bytes(pickle.dumps(network, 4))
    assert file.stat().st_size < 2 * array.nbytes
    assert shape.width(8192) == 64

    def read() -> None:
        with pytest.raises(InputError, match="its arrays hold more bytes than the file"):
            read_karras(file)

    assert peak_of(read) < 8 * array.nbytes


def test_widths_that_no_memory_holds_reserve_none(tmp_path: Path) -> None:
    network = released(Generator(SHAPE), SHAPE, resolution=8192, fmap_base=1 << 20, fmap_max=1 << 14)
    network.state["variables"] = network.state["variables"][:4]
    file = tmp_path / "wide.pkl"
    file.write_bytes(pickle.dumps(network, 4))

    def read() -> None:
        with pytest.raises(InputError, match=r"another kind \(its generator lacks"):
            read_karras(file)

    assert peak_of(read) < 1 << 22
    for word in ("resolution", "fmap_base", "fmap_max", "latent_size", "label_size", "num_channels"):
        odd = released(Generator(SHAPE), SHAPE, **{word: 1 << 40})
        file.write_bytes(pickle.dumps(odd, 4))
        with pytest.raises(InputError, match=f"{word} is {1 << 40}; expected a whole number"):
            read_karras(file)
