"""Images, labels, names and attributes come through every conversion unchanged."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pgtools.errors import InputError, OutputError, PgtoolsError, UsageError
from pgtools.imaging import fit, resample
from pgtools.stores import codecs
from pgtools.stores.jobs import settings as store_settings
from pgtools.stores.jobs.convert import bytes_of, convert, described
from pgtools.stores.jobs.settings import ConvertSettings
from pgtools.stores.opening import open_source
from tests.pictures import noise_images, smooth_images
from tests.stores.sets import image_folder, written
from tests.stores.test_mnist import mnist

PLAIN = ConvertSettings()


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_the_light_lists_are_the_real_ones() -> None:
    assert store_settings.CROPS == fit.CROPS
    assert tuple(resample.FILTERS) == store_settings.FILTERS
    assert store_settings.CODECS == codecs.CODECS


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data(), count=st.integers(1, 6), log_side=st.integers(2, 5), grey=st.booleans(), there=st.booleans())
def test_there_and_back(tmp_path_factory, data, count: int, log_side: int, grey: bool, there: bool) -> None:
    folder = tmp_path_factory.mktemp("s")
    images = noise_images(count, 2**log_side, data.draw(st.integers(0, 99)))
    images = images[:, :1].repeat(3, axis=1) if grey else images
    labels = data.draw(st.none() | st.lists(st.integers(0, 3), min_size=count, max_size=count))
    values = st.text(max_size=8) | st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans()
    printable = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)
    attributes = data.draw(st.lists(st.dictionaries(printable, values, max_size=3), min_size=count, max_size=count))
    first, second = ("a.lmdb", "b.h5") if there else ("a.h5", "b.lmdb")
    colour = "grey" if grey else "rgb"
    begun = open_source(written(folder, images, first, labels=labels, attributes=attributes, colour=colour)[0])
    convert([folder / first], [folder / second], PLAIN)
    convert([folder / second], [folder / f"back{Path(first).suffix}"], PLAIN)
    for path in (folder / second, folder / f"back{Path(first).suffix}"):
        source = open_source(path)
        for level in begun.levels:
            np.testing.assert_array_equal(source.read(range(count), level), begun.read(range(count), level))
        assert source.records(range(count)) == begun.records(range(count))
        assert (source.labels is None) == (labels is None)
        assert labels is None or source.labels.tolist() == labels
        assert (source.colour, source.classes) == (colour, begun.classes)
        assert source.fingerprint() == begun.fingerprint()


def test_several_outputs_at_once_and_what_is_said(tmp_path) -> None:
    folder = image_folder(tmp_path / "photos", noise_images(3, 16))
    done = convert([folder], [tmp_path / "a.lmdb", tmp_path / "b.h5"], PLAIN)
    assert [one.format.name for one in done.outputs] == ["lmdb", "hdf5"]
    assert (done.images, done.resolution) == (3, 16)
    header = open_source(tmp_path / "a.lmdb").header
    assert header.origin["name"] == "photos"
    assert header.origin["format"] == "folder"
    assert str(tmp_path) not in header.to_json()
    assert (
        described(tmp_path / "b.h5") == f"{tmp_path / 'b.h5'} (3 images, {bytes_of(tmp_path / 'b.h5') / 1000:.1f} kB)"
    )


def test_crop_resize_level_selection_and_shuffle_are_in_the_header(tmp_path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    wide = np.random.default_rng(0).integers(0, 256, (9, 20, 30, 3), dtype=np.uint8)
    for i, image in enumerate(wide):
        Image.fromarray(image).save(folder / f"{i}.png")
    chosen = ConvertSettings(crop="centre", resize=16, filter="box", level=8, indices="2:7", shuffle=True)
    convert([folder], [tmp_path / "a.lmdb"], chosen)
    source = open_source(tmp_path / "a.lmdb")
    order = np.arange(5)
    np.random.RandomState(123).shuffle(order)
    assert [record.name for record in source.records(range(5))] == [f"{i + 2}.png" for i in order]
    assert source.resolution == 8
    square = Image.fromarray(wide[2 + order[0]][:, 5:25]).resize((16, 16), Image.Resampling.BOX)
    means = np.asarray(square, np.float64).reshape(8, 2, 8, 2, 3).mean(axis=(1, 3))
    np.testing.assert_array_equal(source.read([0])[0].transpose(1, 2, 0), np.rint(means))
    told = source.header.origin
    assert told["fit"] == {"crop": "centre", "resize": 16, "filter": "box"}
    assert (told["level"], told["shuffle"], told["selection"]) == (8, True, {"indices": "2:7"})


def test_grey(tmp_path) -> None:
    images = noise_images(12, 8)[:, :1].repeat(3, axis=1)
    folder = image_folder(tmp_path / "f", images)
    convert([folder], [tmp_path / "plain.h5"], PLAIN)
    convert([folder], [tmp_path / "grey.h5"], ConvertSettings(grey=True))
    with h5py.File(tmp_path / "plain.h5") as plain, h5py.File(tmp_path / "grey.h5") as grey:
        assert (plain["data8x8"].shape[1], grey["data8x8"].shape[1]) == (3, 1)
    convert([tmp_path / "grey.h5"], [tmp_path / "again.h5"], PLAIN)
    convert([tmp_path / "grey.h5"], [tmp_path / "three.h5"], ConvertSettings(grey=False))
    assert open_source(tmp_path / "again.h5").colour == "grey"
    assert open_source(tmp_path / "three.h5").colour == "rgb"
    images[2, 1, 2, 2] ^= 1  # none of the images that are looked at beforehand
    coloured = image_folder(tmp_path / "g", images)
    with pytest.raises(InputError, match=r"0002\.png is no grey image"):
        convert([coloured], [tmp_path / "b.h5"], ConvertSettings(grey=True))
    assert not (tmp_path / "b.h5").exists()


def test_splits_by_attribute_and_labels_left_out(tmp_path) -> None:
    attributes = [{"split": "train" if i % 3 else "test"} for i in range(6)]
    (path,) = written(tmp_path, noise_images(6, 8), "a.lmdb", labels=[0, 1] * 3, attributes=attributes)
    convert([path], [tmp_path / "b.lmdb"], ConvertSettings(split="test", labels=False))
    source = open_source(tmp_path / "b.lmdb")
    assert [record.name for record in source.records([0, 1])] == ["0.png", "3.png"]
    assert source.labels is None
    convert([path], [tmp_path / "c.lmdb"], ConvertSettings(split="all", label="1"))
    source = open_source(tmp_path / "c.lmdb")
    assert (source.labels.tolist(), source.classes) == ([1, 1, 1], 2)


def test_merging(tmp_path) -> None:
    one, two = noise_images(3, 8), noise_images(4, 8, seed=1)
    a, b = (written(tmp_path, images, name)[0] for images, name in ((one, "a.lmdb"), (two, "b.h5")))
    labelled = written(tmp_path, two, "c.h5", labels=[2, 0, 1, 1])[0]
    convert([a, b], [tmp_path / "ab.lmdb"], PLAIN)
    source = open_source(tmp_path / "ab.lmdb")
    np.testing.assert_array_equal(source.read(range(7)), np.concatenate([one, two]))
    assert source.header.origin["name"] == "a.lmdb + b.h5"
    assert source.header.origin["format"] == ["lmdb", "hdf5"]
    with pytest.raises(InputError, match="no labels, while others have some"):
        convert([a, labelled], [tmp_path / "d.lmdb"], PLAIN)
    convert([a, labelled], [tmp_path / "d.lmdb"], ConvertSettings(labels=False))
    assert open_source(tmp_path / "d.lmdb").labels is None
    convert([labelled, labelled], [tmp_path / "e.lmdb"], PLAIN)
    assert open_source(tmp_path / "e.lmdb").labels.tolist() == [2, 0, 1, 1] * 2


def test_jpeg_only_when_asked(tmp_path) -> None:
    folder = image_folder(tmp_path / "f", smooth_images(2, 32))
    convert([folder], [tmp_path / "a.lmdb"], ConvertSettings(codec="jpeg", quality=60))
    assert open_source(tmp_path / "a.lmdb").header.codecs[32] == "jpeg-60"
    convert([folder], [tmp_path / "b.lmdb"], ConvertSettings(codec="jpeg"))
    assert open_source(tmp_path / "b.lmdb").header.codecs[32] == "jpeg-95"
    with pytest.raises(UsageError, match="--quality is of JPEG"):
        ConvertSettings(quality=60)


@pytest.mark.parametrize(
    ("outputs", "chosen", "error", "message"),
    [
        (["a.xyz"], {}, UsageError, "name does not tell its format"),
        (["a.lmdb"], {"to": "betamax"}, UsageError, "The format to write is 'betamax'"),
        (["a.lmdb", "a.lmdb"], {}, UsageError, "named twice"),
        (["f/a.lmdb"], {}, UsageError, "lies in the source"),
        (["there.h5"], {}, OutputError, "already exists"),
        (["a.lmdb"], {"format": "betamax"}, UsageError, "no format 'betamax'"),
        (["a.lmdb"], {"split": "test"}, InputError, "no images of the split 'test'; its splits: none"),
        (["b.h5", "a.zip"], {"codec": "jpeg"}, UsageError, "--codec is for LMDB"),
        (["a.lmdb"], {"filter": "box"}, UsageError, "--filter box is for --resize"),
        (["a.lmdb"], {"indices": "x"}, UsageError, "--indices"),
        (["a.lmdb"], {"indices": "99"}, InputError, "no image 99"),
        (["a.lmdb"], {"level": 32}, InputError, "no level 32; it has 16, 8, 4"),
        (["a.lmdb"], {"resize": 24}, UsageError, "24"),
        (["a.lmdb"], {"best": 1}, InputError, "attribute score"),
        (["a.lmdb"], {"label": "0"}, InputError, "no labels"),
        (["a.lmdb"], {"grey": True}, InputError, "no grey image"),
    ],
)
def test_nothing_is_written_when_an_option_is_wrong(tmp_path, outputs, chosen, error, message) -> None:
    folder = image_folder(tmp_path / "f", noise_images(4, 16))
    (tmp_path / "there.h5").write_bytes(b"mine")
    before = names(tmp_path), names(folder)
    with pytest.raises(error, match=message):
        convert([folder], [tmp_path / name for name in outputs], ConvertSettings(**chosen))
    assert (names(tmp_path), names(folder)) == before
    assert (tmp_path / "there.h5").read_bytes() == b"mine"


def test_a_source_is_not_replaced_by_what_is_made_of_it(tmp_path) -> None:
    (path,) = written(tmp_path, noise_images(2, 8), "a.lmdb")
    before = (path / "data.mdb").read_bytes()
    with pytest.raises(UsageError, match="is the source itself"):
        convert([path], [path], PLAIN, overwrite=True)
    (tmp_path / "all").mkdir()
    inner = image_folder(tmp_path / "all" / "f", noise_images(2, 8))
    with pytest.raises(UsageError, match="lies in"):
        convert([inner], [tmp_path / "all"], ConvertSettings(to="lmdb"), overwrite=True)
    with pytest.raises(PgtoolsError, match="no lmdb"):
        convert([path], [inner], ConvertSettings(to="lmdb"), overwrite=True)
    assert (path / "data.mdb").read_bytes() == before
    assert len(names(inner)) == 2


def test_too_little_space_is_told_before_writing(tmp_path, monkeypatch) -> None:
    folder = image_folder(tmp_path / "f", noise_images(2, 64))
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 50_000})())
    with pytest.raises(OutputError, match=r"50\.0 kB free"):
        convert([folder], [tmp_path / "a.lmdb", tmp_path / "new" / "b.h5"], PLAIN)
    assert names(tmp_path) == ["f"]


def test_the_header_is_plain_json(tmp_path) -> None:
    folder = image_folder(tmp_path / "f", noise_images(2, 8))
    (tmp_path / "names.txt").write_text("0001.png\n")
    convert([folder], [tmp_path / "a.h5"], ConvertSettings(names=tmp_path / "names.txt"))
    with h5py.File(tmp_path / "a.h5") as file:
        told = json.loads(file.attrs["pgtools-header"])
    assert told["origin"]["selection"] == {"names": "names.txt"}
    assert told["count"] == 1


def hugging_face(folder: Path) -> Path:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image()})

    def part(count: int, seed: int):
        pictures = [Image.fromarray(image.transpose(1, 2, 0)) for image in noise_images(count, 8, seed)]
        return datasets.Dataset.from_dict({"image": pictures}, features=features)

    datasets.DatasetDict({"train": part(5, 0), "test": part(3, 1)}).save_to_disk(folder)
    return folder


@pytest.mark.parametrize(("split", "count"), [(None, 5), ("train", 5), ("test", 3), ("all", 8)])
def test_the_splits_that_only_the_files_tell(tmp_path, split: str | None, count: int) -> None:
    convert([hugging_face(tmp_path / "hf")], [tmp_path / "a.lmdb"], ConvertSettings(split=split))
    source = open_source(tmp_path / "a.lmdb")
    whole = np.concatenate([noise_images(5, 8, 0), noise_images(3, 8, 1)])
    expected = {None: whole[:5], "train": whole[:5], "test": whole[5:], "all": whole}[split]
    np.testing.assert_array_equal(source.read(range(count)), expected)


def test_a_split_of_one_hugging_face_set_is_refused(tmp_path) -> None:
    path = hugging_face(tmp_path / "hf") / "test"
    with pytest.raises(InputError, match="without splits; 'train' was asked for"):
        convert([path], [tmp_path / "a.lmdb"], ConvertSettings(split="train"))
    convert([path], [tmp_path / "a.lmdb"], ConvertSettings(split="all"))


@pytest.mark.parametrize(("split", "count"), [(None, 12), ("train", 12), ("test", 5), ("all", 17)])
def test_the_splits_of_torchvisions_sets(tmp_path, split: str | None, count: int) -> None:
    mnist(tmp_path / "MNIST/raw")
    chosen = ConvertSettings(format="torchvision:MNIST", split=split, resize=16)
    convert([tmp_path], [tmp_path.with_name(f"{tmp_path.name}.lmdb")], chosen)
    source = open_source(tmp_path.with_name(f"{tmp_path.name}.lmdb"))
    assert len(source) == count
    assert source.header.origin["format"] == "torchvision:MNIST"


def test_where_the_source_itself_came_from_is_kept(tmp_path) -> None:
    folder = image_folder(tmp_path / "photos", noise_images(4, 16))
    built = {"name": "photos", "made": "build-celebahq", "networks": {"landmarks": "ab" * 32}}
    (a,) = written(tmp_path, noise_images(4, 16), "a.lmdb", origin=built)
    first = open_source(a).header.origin
    convert([a], [tmp_path / "b.h5"], ConvertSettings(indices="1:3"))
    second = open_source(tmp_path / "b.h5").header.origin
    assert second["from"] == first
    assert second["from"]["networks"] == {"landmarks": "ab" * 32}
    convert([tmp_path / "b.h5"], [tmp_path / "c.lmdb"], PLAIN)
    assert open_source(tmp_path / "c.lmdb").header.origin["from"] == second
    convert([a, folder, tmp_path / "b.h5"], [tmp_path / "d.lmdb"], PLAIN)
    assert open_source(tmp_path / "d.lmdb").header.origin["from"] == [first, {}, second]
    convert([folder], [tmp_path / "e.lmdb"], PLAIN)
    assert "from" not in open_source(tmp_path / "e.lmdb").header.origin


def test_a_history_that_is_too_long_keeps_what_names_it(tmp_path) -> None:
    long = {"name": "photos", "made": "build-celebahq", "settings": "x" * 17_000}
    (a,) = written(tmp_path, noise_images(1, 4), "a.lmdb", origin=long)
    convert([a], [tmp_path / "b.h5"], PLAIN)
    first, kept = open_source(a).header.origin, open_source(tmp_path / "b.h5").header.origin["from"]
    assert kept == {name: first[name] for name in ("name", "made", "sha256", "by")}
    nested: dict = {}
    for _ in range(300):
        nested = {"from": nested}
    (c,) = written(tmp_path, noise_images(1, 4), "c.lmdb", origin={**nested, "name": "deep"})
    convert([c], [tmp_path / "d.h5"], PLAIN)
    assert set(open_source(tmp_path / "d.h5").header.origin["from"]) == {"name", "sha256", "by"}
    (c,) = written(tmp_path, noise_images(1, 4), "c.lmdb", origin={"name": "é" * 5000, "made": ["no text"]})
    convert([c], [tmp_path / "d.h5"], PLAIN, overwrite=True)
    kept = open_source(tmp_path / "d.h5").header.origin["from"]
    assert set(kept) == {"name", "sha256", "by"}
    assert kept["name"] == "é" * 200 + "…"
    convert([a] * 300, [tmp_path / "e.h5"], PLAIN)
    told = open_source(tmp_path / "e.h5").header.origin
    assert len(json.dumps(told["from"])) <= 16 << 10
    assert len(told["from"]) - 1 + told["from"][-1]["more"] == 300
    assert told["name"].endswith("…")
    assert told["format"] == "lmdb"


def test_a_chain_of_conversions_ends_no_header(tmp_path) -> None:
    (path,) = written(tmp_path, noise_images(1, 4), "0.h5", origin={"settings": "x" * 3000})
    for i in range(1, 9):
        convert([path], [tmp_path / f"{i}.h5"], ConvertSettings(indices="0"))
        path = tmp_path / f"{i}.h5"
        assert len(open_source(path).header.to_json()) < 1 << 15


def test_a_long_selection_is_shortened_in_the_header(tmp_path) -> None:
    """HDF5 keeps an attribute of 64 KiB at most."""
    (path,) = written(tmp_path, noise_images(30, 4), "a.lmdb")
    text = ",".join(f"{i * 7 % 30:018d}" for i in range(4000))
    convert([path], [tmp_path / "b.h5"], ConvertSettings(indices=text))
    source = open_source(tmp_path / "b.h5")
    assert len(source) == 30
    assert source.header.origin["selection"] == {"indices": text[:200] + "…"}


def with_damage(folder: Path, *damaged: int) -> tuple[Path, np.ndarray]:
    images = noise_images(8, 16)
    image_folder(folder, images)
    for number in damaged:
        file = folder / f"{number:04d}.png"
        file.write_bytes(file.read_bytes()[:200])
    return folder, images


def test_every_image_that_cannot_be_read_is_told_at_once(tmp_path) -> None:
    folder, _ = with_damage(tmp_path / "f", 0, 2, 3, 5, 6)
    with pytest.raises(
        InputError, match=r"5 of 8 images of .* cannot be read: .*0000\.png.*0002\.png.*And 2 more"
    ) as told:
        convert([folder], [tmp_path / "a.lmdb"], ConvertSettings())
    assert "--skip-damaged" in told.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
    one, _ = with_damage(tmp_path / "one", 4)
    with pytest.raises(InputError, match=r"0004\.png: is damaged") as told:
        convert([one], [tmp_path / "a.lmdb"], ConvertSettings())
    assert "--skip-damaged" in told.value.hint


def test_damaged_images_are_left_out_when_asked(tmp_path) -> None:
    folder, images = with_damage(tmp_path / "f", 0, 2, 7)
    done = convert([folder], [tmp_path / "a.lmdb"], ConvertSettings(skip_damaged=True))
    assert [f"{n:04d}.png" in fault for n, fault in zip((0, 2, 7), done.skipped, strict=True)] == [True] * 3
    source = open_source(tmp_path / "a.lmdb")
    np.testing.assert_array_equal(source.read(range(5)), images[[1, 3, 4, 5, 6]])
    assert source.header.origin["skipped"] == 3
    nothing, _ = with_damage(tmp_path / "none", *range(8))
    with pytest.raises(InputError):
        convert([nothing], [tmp_path / "b.lmdb"], ConvertSettings(skip_damaged=True))
