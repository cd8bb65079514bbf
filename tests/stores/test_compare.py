"""What is said of two sources side by side."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pgtools.stores.jobs.compare import compare, fingerprint, source_facts
from pgtools.stores.opening import open_source
from pgtools.stores.views import Subset
from tests.pictures import noise_images
from tests.stores.sets import Held, image_folder, written

IMAGES = noise_images(20, 8)


def test_the_same_images_in_two_formats(tmp_path) -> None:
    a, b = (open_source(path) for path in written(tmp_path, IMAGES, "a.lmdb", "a.h5", labels=[0, 1] * 10))
    found = compare(a, b)
    assert (found.same, found.permutation, found.differing, found.records, found.labels) == (True, False, 0, 0, "equal")
    assert found.largest is None
    assert found.facts["fingerprint"] == (a.fingerprint(), a.fingerprint())


def test_images_that_differ_are_measured() -> None:
    changed = IMAGES.copy()
    changed[3, 0, 0, 0] ^= 64
    changed[17, 1] ^= 1
    found = compare(Held(IMAGES, name="a"), Held(changed, name="b"))
    squares = np.square(IMAGES[[3, 17]].astype(float) - changed[[3, 17]])
    assert (found.same, found.differing, found.first, found.largest) == (False, 2, (3, 17), 64)
    assert found.psnr == pytest.approx(10 * math.log10(255**2 / squares.mean()))


def test_only_images_that_differ_are_read(tmp_path, monkeypatch) -> None:
    changed = IMAGES.copy()
    changed[5] ^= 1
    a, b = (open_source(written(tmp_path, images, name)[0]) for images, name in ((IMAGES, "a.h5"), (changed, "b.h5")))
    read, asked = type(a).read, []
    monkeypatch.setattr(type(a), "read", lambda self, i, level=None: asked.extend(i) or read(self, i, level))
    assert compare(a, b).differing == 1
    assert asked == [5, 5]


def test_another_order_is_told() -> None:
    source = Held(IMAGES, name="a")
    found = compare(source, Subset(source, list(range(19, -1, -1))))
    assert (found.same, found.permutation, found.differing) == (False, True, 20)
    repeated = compare(Subset(source, [0, 0, 1]), Subset(source, [0, 1, 1]))
    assert not repeated.permutation


def test_counts_sizes_labels_and_names() -> None:
    labels = np.zeros(20, np.int64)
    one, two = Held(IMAGES, name="a", labels=labels), Held(noise_images(20, 16), name="b")
    found = compare(one, two)
    assert (found.same, found.differing, found.largest, found.labels) == (False, None, None, "only in A")
    fewer = compare(one, Held(IMAGES[:4], name="c"))
    assert (fewer.same, fewer.permutation, fewer.differing) == (False, False, 0)
    other = compare(one, Held(IMAGES, name="d", labels=labels + 1))
    assert (other.same, other.labels) == (True, "different")


def test_facts(tmp_path) -> None:
    path = written(tmp_path, IMAGES, "a.lmdb", codec="jpeg", quality=80, origin={"name": "x"})[0]
    facts = source_facts(open_source(path), path)
    assert (facts["format"], facts["version"], facts["colour"]) == ("lmdb", 2, "rgb")
    assert facts["codecs"] == {"8": "jpeg-80", "4": "raw"}
    assert facts["origin"]["name"] == "x"
    assert facts["bytes"] == (path / "data.mdb").stat().st_size
    folder = image_folder(tmp_path / "f", IMAGES)
    facts = source_facts(open_source(folder), folder)
    assert (facts["format"], facts["version"], facts["codecs"], facts["stored"]) == ("folder", None, None, [8])
    assert facts["fingerprint"] == fingerprint(open_source(folder)) == open_source(folder).fingerprint()
