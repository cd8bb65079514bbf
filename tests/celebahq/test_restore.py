"""A build with networks: which it takes, how many processes, what it records."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pgtools.celebahq.build import build
from pgtools.celebahq.input.annotations import read_landmarks
from pgtools.celebahq.input.photos import find_photos
from pgtools.celebahq.job import workers_for
from pgtools.celebahq.process import Steps
from pgtools.celebahq.settings import BuildSettings
from pgtools.celebahq.worker import Task, Worker
from pgtools.demo.faces import write_faces
from pgtools.errors import InputError, MissingModelError, UsageError
from pgtools.models.registry import model_named
from pgtools.models.weights import file_of
from pgtools.restoration.network import ImageNetwork
from pgtools.runtime.files import sha256_of
from pgtools.runtime.workers import cpu_count
from pgtools.stores.opening import open_source
from tests.restoration.networks import tiny_compact, tiny_foreign

PLAIN = {"restore": "none", "superres": "lanczos"}


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("faces") / "celeba"
    write_faces(folder, count=2, seed=5, layout="aligned")
    return folder


@pytest.fixture
def networks(tmp_path) -> dict[str, str]:
    restore = tiny_compact(tmp_path / "restore.safetensors", 1, unshuffle=2)
    superres = tiny_compact(tmp_path / "superres.safetensors", 4)
    return {"restore": str(restore), "superres": str(superres)}


def settings(**how: object) -> BuildSettings:
    return BuildSettings(**{"resolution": 256, "workers": 1, **how})  # type: ignore[arg-type]


def bytes_of(store: Path) -> bytes:
    return (store / "data.mdb").read_bytes()


def crops(store: Path) -> np.ndarray:
    source = open_source(store)
    return source.read(range(len(source)), 256)


def test_each_network_shows_in_the_crops(faces, networks, tmp_path) -> None:
    chosen = {"plain": PLAIN, "restored": {**PLAIN, "restore": networks["restore"]}}
    chosen |= {"enlarged": {**PLAIN, "superres": networks["superres"]}, "both": networks}
    for name, which in chosen.items():
        build(faces, [tmp_path / f"{name}.lmdb"], settings(**which))
    found = [crops(tmp_path / f"{name}.lmdb") for name in chosen]
    for i, one in enumerate(found):
        assert all((one != other).any() for other in found[:i])
        assert np.abs(one.astype(int) - found[0]).mean() < 30, "still the same faces"


def test_workers_and_batches_change_nothing(faces, networks, tmp_path) -> None:
    for name, how in (("one", {}), ("two", {"workers": 2}), ("batch", {"batch": 3})):
        build(faces, [tmp_path / f"{name}.lmdb"], settings(**networks, tile=64, **how))
    assert bytes_of(tmp_path / "one.lmdb") == bytes_of(tmp_path / "two.lmdb")
    difference = np.abs(crops(tmp_path / "one.lmdb").astype(int) - crops(tmp_path / "batch.lmdb"))
    assert difference.max() <= 2 and difference.mean() < 0.01


def test_a_store_names_the_networks_that_made_it(faces, networks, tmp_path) -> None:
    build(faces, [tmp_path / "a.h5"], settings(**networks, precision="bfloat16", tile=64))
    origin = open_source(tmp_path / "a.h5").header.origin
    for role in ("restore", "superres"):
        assert origin[role] == sha256_of(Path(networks[role]))
        assert origin[f"{role} precision"] == "bfloat16"
    assert origin["tile"] == 64


@pytest.mark.parametrize(
    ("changed", "told"),
    [({"precision": "bfloat16"}, "precision was float32, is bfloat16"), ({"tile": 64}, "tile was 256, is 64")],
)
def test_an_interrupted_build_does_not_mix(faces, networks, tmp_path, monkeypatch, changed, told: str) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("pgtools.celebahq.storing.write_stores", stop)
        build(faces, [tmp_path / "a.lmdb"], settings(**networks))
    with pytest.raises(InputError, match=told):
        build(faces, [tmp_path / "a.lmdb"], settings(**networks, **changed))
    assert build(faces, [tmp_path / "a.lmdb"], settings(**networks, batch=2)).resumed == 2


def test_a_network_in_the_wrong_place_is_told_before_the_first_photo(faces, networks, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PGTOOLS_CACHE", str(tmp_path / "cache"))
    out = [tmp_path / "a.lmdb"]
    with pytest.raises(UsageError, match="enlarges 4 times"):
        build(faces, out, settings(**{**PLAIN, "restore": networks["superres"]}))
    with pytest.raises(UsageError, match="does not enlarge"):
        build(faces, out, settings(**{**PLAIN, "superres": networks["restore"]}))
    with pytest.raises(UsageError, match="'nonsense' is no network; expected none, pgtools-dejpeg"):
        build(faces, out, settings(**{**PLAIN, "restore": "nonsense"}))
    with pytest.raises(UsageError, match="'nonsense' is no network; expected lanczos, pgtools-sr4"):
        build(faces, out, settings(**{**PLAIN, "superres": "nonsense"}))
    with pytest.raises(MissingModelError) as caught:
        build(faces, out, settings(**{**PLAIN, "restore": "fbcnn-color"}))
    assert "pgtools models fetch fbcnn-color" in caught.value.hint
    with pytest.raises(UsageError, match="float16 needs CUDA"):
        build(faces, out, settings(**networks, precision="float16", device="cpu"))
    monkeypatch.setattr("spandrel.ImageModelDescriptor.purpose", "FaceSR")
    face = str(tiny_foreign(tmp_path / "face.pth", 1))
    with pytest.raises(UsageError, match="takes only faces of 512×512 pixels"):
        build(faces, out, settings(**{**PLAIN, "restore": face}))
    assert list(tmp_path.glob("a.lmdb*")) == []


def test_a_process_a_core_but_threads_on_a_gpu_and_one_for_large_networks(networks, tmp_path, monkeypatch) -> None:
    """Measured on two cores with other work on them: two processes of one thread did 4 times as much as one of two."""
    light, heavy = ImageNetwork(Path(networks["restore"])), ImageNetwork(tiny_foreign(tmp_path / "net.pth"))
    on_cpu = BuildSettings(device="cpu")
    all_cores = cpu_count(), "processes"
    assert workers_for(Steps(64), on_cpu) == workers_for(Steps(64, restore=light, superres=light), on_cpu) == all_cores
    assert workers_for(Steps(64, restore=light, superres=heavy), on_cpu) == (1, "processes")
    assert workers_for(Steps(64, superres=heavy), BuildSettings(device="cpu", workers=3)) == (3, "processes")
    monkeypatch.setattr("pgtools.runtime.device.resolve_device", lambda name: torch.device("cuda"))
    assert workers_for(Steps(64, restore=light), BuildSettings()) == (cpu_count(), "threads")
    assert workers_for(Steps(64), BuildSettings()) == all_cores


def test_a_network_that_cannot_be_computed_here_says_nothing_final_of_a_photo(faces, networks, tmp_path) -> None:
    def hungry(batch: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("out of memory")

    def overflowing(batch: torch.Tensor) -> torch.Tensor:
        return batch * float("inf")

    photo = find_photos(faces)
    name = photo.names[0]
    points = read_landmarks(photo.annotation)[name]
    task = Task(name, photo.files[name], points)
    for fault, reason, hint in (
        (hungry, "the memory of cpu does not suffice for the network (58×60 pixels at once)", "--device cpu"),
        (overflowing, "the network's output holds values that are no numbers", "--precision float32"),
    ):
        network = ImageNetwork(Path(networks["restore"]), device="cpu")
        object.__setattr__(network.load(), "run", fault)
        ((_, outcome),) = Worker(Steps(64, restore=network), tmp_path / "crops")([task])
        assert (outcome["reason"], outcome["passing"]) == (reason, True)
        assert hint in outcome["hint"]
    assert not (tmp_path / "crops").exists()


def test_without_enough_memory_a_build_can_go_on_later(faces, networks, tmp_path, monkeypatch) -> None:
    folder = tmp_path / "celeba"
    shutil.copytree(faces, folder)
    lower = folder / "img_align_celeba/000001.jpg"
    Image.open(lower).crop((0, 0, 178, 200)).save(lower)
    with monkeypatch.context() as patch, pytest.raises(InputError, match="None of the 2 photos") as caught:
        patch.setattr("pgtools.restoration.engine._computed", lambda *_: False)
        build(folder, [tmp_path / "a.lmdb"], settings(**networks))
    told = "the memory of cpu does not suffice for the network. Pass --device cpu, or name a smaller network"
    assert f"{told} (2)" in caught.value.message, "one reason, whatever the sizes"
    result = build(folder, [tmp_path / "a.lmdb"], settings(**networks))
    assert (result.kept, result.resumed) == (2, 0)


@pytest.mark.skipif(
    not all(file_of(model_named(name)).is_file() for name in ("pgtools-dejpeg", "pgtools-sr4")),
    reason="this tree lacks the embedded networks",
)
def test_the_embedded_networks_are_the_default(faces, tmp_path, pgtools, monkeypatch) -> None:
    monkeypatch.setenv("PGTOOLS_CACHE", str(tmp_path / "empty"))
    built = pgtools("build-celebahq", faces, tmp_path / "a.h5", "--resolution", 256, "--json")
    assert json.loads(built.out)["kept"] == 2
    assert "pgtools-dejpeg" in built.err and "pgtools-sr4" in built.err
    origin = open_source(tmp_path / "a.h5").header.origin
    assert origin["restore"] == sha256_of(file_of(model_named("pgtools-dejpeg")))
    assert origin["superres"] == sha256_of(file_of(model_named("pgtools-sr4")))
