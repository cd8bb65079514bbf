"""`pgtools store` as it is typed: words in, exit code, results on stdout, all else on stderr."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from pgtools.stores.opening import open_source
from tests.pictures import noise_images
from tests.stores.damage import LMDB, edit_lmdb
from tests.stores.sets import image_folder, written

IMAGES = noise_images(5, 32)
LABELS = [0, 2, 1, 2, 0]


@pytest.fixture
def stores(tmp_path):
    attributes = [{"score": float(i), "split": "test" if i == 4 else "train"} for i in range(5)]
    return written(tmp_path, IMAGES, "a.lmdb", "a.h5", labels=LABELS, attributes=attributes)


def test_info(pgtools, tmp_path, stores) -> None:
    folder = image_folder(tmp_path / "f", IMAGES)
    told = [json.loads(pgtools("store", "info", path, "--json").out) for path in (*stores, folder)]
    assert [facts["format"] for facts in told] == ["lmdb", "hdf5", "folder"]
    assert len({facts["fingerprint"] for facts in told}) == 1
    assert told[0]["codecs"]["32"] == "raw"
    text = pgtools("store", "info", stores[0]).out
    assert "images:      5\n" in text
    assert "an image\n" in text
    assert "version:     2\n" in text
    assert "version" not in pgtools("store", "info", folder).out
    assert pgtools("store", "info", folder, "--format", "hdf5").code == 1


def test_verify_and_repair(pgtools, stores) -> None:
    whole = pgtools("store", "verify", stores[0])
    assert (whole.code, whole.out) == (0, f"{stores[0]}: no faults\n")
    assert "images/s" in whole.err
    assert "nothing to repair" in pgtools("store", "verify", stores[1], "--repair").out
    for kind in ("no top", "lower"):
        edit_lmdb(stores[0], LMDB[kind][0])
    found = pgtools("store", "verify", stores[0])
    assert found.code == 1
    assert found.out.splitlines() == [
        "image 0 (0.png) at 32²: is missing",
        "image 2 (2.png) at 8²: its stored bytes have changed (CRC-32)",
    ]
    assert "2 faults in 5 images" in found.err
    assert "--repair" in found.err
    assert pgtools("store", "verify", stores[0], "--quick").code == 1
    assert pgtools("store", "verify", stores[0], "--level", 16).code == 1
    facts = json.loads(pgtools("store", "verify", stores[0], "--json").out)
    assert [(fault["image"], fault["level"], fault["lost"]) for fault in facts["faults"]] == [
        (0, 32, True),
        (2, 8, False),
    ]
    repaired = pgtools("store", "verify", stores[0], "--repair")
    assert repaired.code == 0
    assert "dropped: image 0 (0.png)" in repaired.out
    assert "4 images kept, 1 of them rebuilt" in repaired.out
    assert pgtools("store", "verify", stores[0]).code == 0


def test_verify_options_that_do_not_go_together(pgtools, stores, tmp_path) -> None:
    for words in (["--repair", "--quick"], ["--repair", "--level", 8]):
        outcome = pgtools("store", "verify", stores[0], *words)
        assert (outcome.code, outcome.out) == (2, "")
        assert "--repair needs the whole store" in outcome.err
    folder = image_folder(tmp_path / "f", IMAGES)
    assert pgtools("store", "verify", folder, "--quick").code == 2
    assert pgtools("store", "verify", folder, "--repair").code == 2
    (folder / "0001.png").write_bytes(b"no image")
    outcome = pgtools("store", "verify", folder)
    assert (outcome.code, outcome.out.count("\n")) == (1, 1)
    assert "--repair" not in outcome.err


def test_a_repair_as_json(pgtools, stores) -> None:
    edit_lmdb(stores[0], LMDB["no top"][0])
    facts = json.loads(pgtools("store", "verify", stores[0], "--repair", "--json").out)
    assert facts["repaired"]["dropped"] == [{"image": 0, "name": "0.png"}]
    assert facts["repaired"]["kept"] == 4


def test_a_store_that_cannot_be_opened(pgtools, stores) -> None:
    stores[1].write_bytes(stores[1].read_bytes()[:-5000])
    for words in ([], ["--repair"]):
        outcome = pgtools("store", "verify", stores[1], *words)
        assert (outcome.code, outcome.out) == (1, "")
        assert "not a readable HDF5 file" in outcome.err
    assert "backup" in outcome.err


def test_compare(pgtools, tmp_path, stores) -> None:
    same = pgtools("store", "compare", *stores)
    assert same.code == 0
    assert "The same images in the same order." in same.out
    changed = IMAGES.copy()
    changed[1, 0, 0, 0] ^= 32
    other = written(tmp_path, changed, "b.lmdb")[0]
    found = pgtools("store", "compare", stores[0], other)
    assert found.code == 1
    assert "1 images differ: 1.\nLargest difference: 32 of 255, PSNR" in found.out
    facts = json.loads(pgtools("store", "compare", stores[0], other, "--json").out)
    assert (facts["same"], facts["first"], facts["labels"]) == (False, [1], "only in A")
    turned = written(tmp_path, IMAGES[::-1].copy(), "c.lmdb")[0]
    assert "The same images in another order." in pgtools("store", "compare", stores[0], turned).out
    small = written(tmp_path, noise_images(5, 8), "d.lmdb")[0]
    assert pgtools("store", "compare", stores[0], small).code == 1


def test_convert_subset_merge(pgtools, tmp_path, stores) -> None:
    done = pgtools(
        "store", "convert", stores[0], tmp_path / "b.h5", tmp_path / "c.lmdb", "--level", 16, "--codec", "png"
    )
    assert done.code == 0, done.err
    assert f"{tmp_path / 'b.h5'}: 5 images of 16²" in done.out
    assert "images/s" in done.out
    facts = json.loads(pgtools("store", "subset", stores[1], tmp_path / "d.lmdb", "--best", 2, "--json").out)
    assert (facts["images"], facts["outputs"][0]["format"]) == (2, "lmdb")
    np.testing.assert_array_equal(open_source(tmp_path / "d.lmdb").read([0, 1]), IMAGES[3:])
    assert pgtools("store", "subset", stores[0], tmp_path / "e.lmdb", "--split", "train", "--label", "0,1").code == 0
    assert open_source(tmp_path / "e.lmdb").labels.tolist() == [0, 1]
    assert pgtools("store", "merge", *stores, tmp_path / "m.h5", "--no-labels").code == 0
    np.testing.assert_array_equal(open_source(tmp_path / "m.h5").read(range(10)), np.concatenate([IMAGES, IMAGES]))


def test_extract(pgtools, tmp_path, stores) -> None:
    done = pgtools("store", "extract", stores[0], tmp_path / "out", "--indices", "1,3", "--level", 16)
    assert done.code == 0, done.err
    files = sorted(file.name for file in (tmp_path / "out").rglob("*.png"))
    assert files == ["1.png", "3.png"]
    found = np.asarray(Image.open(next((tmp_path / "out").rglob("3.png"))))
    np.testing.assert_array_equal(found.transpose(2, 0, 1), open_source(stores[0]).read([3], 16)[0])


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["convert", "a.lmdb"], 2, "Missing argument 'OUT"),
        (["convert", "a.lmdb", "b.lmdb", "--codec", "gif"], 2, "'gif' is not one of"),
        (["convert", "a.lmdb", "b.lmdb", "--crop", "centre"], 2, "--crop and --resize are for images of any size"),
        (["convert", "a.lmdb", "b.lmdb", "--quality", "3"], 2, "--quality is of JPEG"),
        (["convert", "none", "b.lmdb"], 1, "none does not exist"),
        (["convert", "a.lmdb", "a.h5"], 1, "already exists"),
        (["subset", "a.lmdb", "b.lmdb", "--indices", "-3"], 2, "--indices"),
        (["subset", "a.lmdb", "b.lmdb", "--min-score", "nan"], 2, "--min-score"),
        (["subset", "a.lmdb", "b.lmdb", "--best", "9"], 1, "5 images with a score to choose from; 9 were asked for"),
        (["merge", "a.lmdb"], 2, "Missing argument"),
        (["extract", "a.lmdb", "out", "--level", "6"], 1, "no level 6"),
        (["verify", "none"], 1, "none does not exist"),
        (["compare", "a.lmdb"], 2, "Missing argument 'B'"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(pgtools, tmp_path, stores, monkeypatch, words, code, message):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    outcome = pgtools("store", *words)
    assert (outcome.code, outcome.out) == (code, "")
    assert [line for line in outcome.err.splitlines() if line.startswith("Error: ") and message in line]
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("answer", "words", "terminal", "replaced"),
    [
        ("y", [], True, True),
        ("n", [], True, False),
        ("", [], True, False),
        ("", ["--yes"], True, True),
        ("", [], False, True),
    ],
)
def test_replacing_asks_at_a_terminal(
    pgtools, tmp_path, stores, monkeypatch, answer: str, words: list[str], terminal: bool, replaced: bool
) -> None:
    old = written(tmp_path, noise_images(2, 8), "old.lmdb")[0]
    asked = []
    monkeypatch.setattr("pgtools.cli._output.at_a_terminal", lambda: terminal)
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda text: asked.append(text) or answer)
    outcome = pgtools("store", "convert", stores[0], old, "--overwrite", *words)
    assert outcome.code == (0 if replaced else 1)
    assert len(open_source(old)) == (5 if replaced else 2)
    assert bool(asked) == (terminal and not words)
    if asked:
        assert "old.lmdb (2 images, " in "".join(asked) + outcome.err
    if not replaced:
        assert "Nothing was changed." in outcome.err


def test_a_build_asks_too(pgtools, tmp_path, stores, monkeypatch) -> None:
    monkeypatch.setattr("pgtools.cli._output.at_a_terminal", lambda: True)
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda text: "n")
    outcome = pgtools("build-celebahq", tmp_path, stores[0], "--overwrite")
    assert outcome.code == 1
    assert "Nothing was changed." in outcome.err
    assert len(open_source(stores[0])) == 5


def test_a_link_to_nothing_beside_the_images(pgtools, tmp_path) -> None:
    folder = image_folder(tmp_path / "f", IMAGES)
    size = sum(file.stat().st_size for file in folder.iterdir())
    (folder / "notes.txt").symlink_to("/nonexistent")
    (folder / "circle").symlink_to("circle")
    told = json.loads(pgtools("store", "info", folder, "--json").out)
    assert size <= told["bytes"] < size + 100
    assert pgtools("store", "convert", folder, tmp_path / "a.lmdb").code == 0


def test_where_a_store_came_from_is_told_in_one_line(pgtools, tmp_path, stores) -> None:
    assert pgtools("store", "subset", stores[0], tmp_path / "b.lmdb", "--indices", "0:2").code == 0
    assert pgtools("store", "merge", tmp_path / "b.lmdb", stores[1], tmp_path / "c.lmdb").code == 0
    (line,) = [line for line in pgtools("store", "info", tmp_path / "c.lmdb").out.splitlines() if "origin" in line]
    assert "format lmdb, hdf5, from (by pgtools " in line
    assert "name a.lmdb, selection (indices 0:2)" in line
    assert "{" not in line


def test_a_source_whose_path_is_no_unicode(pgtools, tmp_path) -> None:
    (path,) = written(tmp_path, IMAGES, "a.h5")
    path = path.rename(tmp_path / "\udcff.h5")
    assert "\\udcff.h5" in pgtools("store", "info", path).out
    assert pgtools("store", "subset", path, tmp_path / "b.h5", "--indices", 0).code == 0
    assert "name \\udcff.h5" in pgtools("store", "info", tmp_path / "b.h5").out


def test_a_page_tells_no_folder_of_this_machine(pgtools, tmp_path, stores, monkeypatch) -> None:
    assert pgtools("store", "view", stores[0], tmp_path / "page.html").code == 0
    page = (tmp_path / "page.html").read_text()
    assert str(tmp_path) not in page
    assert "a.lmdb" in page
    monkeypatch.chdir(stores[0])
    assert pgtools("store", "view", ".", tmp_path / "page.html", "--overwrite").code == 0
    assert "a.lmdb" in (tmp_path / "page.html").read_text()
