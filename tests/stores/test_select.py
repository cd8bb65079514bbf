"""Which images a selection takes, held against a plain filter over all of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgtools.errors import InputError, PgtoolsError, UsageError
from pgtools.stores.jobs import select
from pgtools.stores.jobs.select import Selection
from pgtools.stores.jobs.settings import SelectionSettings
from pgtools.stores.layout import Record
from tests.pictures import noise_images
from tests.stores.sets import Held


class Set(Held):
    """Tiny images with records."""

    def __init__(self, attributes: list[dict], labels: list[int] | None = None) -> None:
        numbers = None if labels is None else np.array(labels, np.int64)
        super().__init__(noise_images(len(attributes), 4), name="set", labels=numbers)
        self.attributes, self.asked = attributes, []

    classes = 3

    def records(self, indices):
        self.asked.append(len(indices))
        return [Record(f"n{i}", self.attributes[i]) for i in indices]


def taken(source: Held, **chosen) -> list[int]:
    found = Selection(SelectionSettings(**chosen)).indices(source)
    assert found.dtype == np.int64
    return found.tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3", [3]),
        ("5,3,3", [3, 5]),
        ("0:4", [0, 1, 2, 3]),
        (":", list(range(10))),
        ("7:", [7, 8, 9]),
        ("::4", [0, 4, 8]),
        ("2:99:3, 0", [0, 2, 5, 8]),
    ],
)
def test_numbers_and_slices(text: str, expected: list[int]) -> None:
    assert taken(Set([{}] * 10), indices=text) == expected


@pytest.mark.parametrize("text", ["", "-1", "a", "1:2:3:4", "0:5:0", "1-3", "0:-1", "1,,2", "²"])
def test_what_is_no_number_is_refused_before_a_source_is_opened(text: str) -> None:
    with pytest.raises(UsageError, match="--indices"):
        Selection(SelectionSettings(indices=text))


@pytest.mark.parametrize("text", ["10", "10:", "5:5"])
def test_numbers_that_are_not_there(text: str) -> None:
    with pytest.raises(InputError, match=r"set has no image .* it holds 10"):
        taken(Set([{}] * 10), indices=text)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_conditions_against_a_plain_filter(data) -> None:
    count = data.draw(st.integers(1, 30))
    score = st.one_of(st.none(), st.integers(-3, 3).map(float))
    attributes = [{} if (value := data.draw(score)) is None else {"score": value} for _ in range(count)]
    labels = data.draw(st.lists(st.integers(0, 2), min_size=count, max_size=count))
    low, best, first = (data.draw(st.one_of(st.none(), st.integers(1, 3))) for _ in range(3))
    label = data.draw(st.sampled_from([None, "0", "1,2"]))
    plain = [i for i in range(count) if label is None or str(labels[i]) in label.split(",")]
    if low is not None:
        plain = [i for i in plain if attributes[i].get("score", -99) >= low]
    if best is not None:
        scored = [i for i in plain if "score" in attributes[i]]
        plain = sorted(sorted(scored, key=lambda i: -attributes[i]["score"])[:best]) if len(scored) >= best else None
    if plain and first is not None:
        plain = plain[:first] if first <= len(plain) else None
    chosen = {"label": label, "min_score": low, "best": best, "num_images": first}
    source = Set(attributes, labels)
    if plain:
        assert taken(source, **chosen) == plain
    else:
        with pytest.raises(InputError):
            taken(source, **chosen)


def test_records_are_read_only_when_asked_for_and_a_few_at_a_time(monkeypatch) -> None:
    monkeypatch.setattr(select, "RECORDS_AT_ONCE", 4)
    source = Set([{"score": 1.0}] * 10)
    assert taken(source, indices="0:3", num_images=2) == [0, 1]
    assert source.asked == []
    assert taken(source, max_score=1) == list(range(10))
    assert source.asked == [4, 4, 2]


def test_names(tmp_path) -> None:
    file = tmp_path / "names.txt"
    file.write_bytes(b"n4\r\nn2\n\n")
    assert taken(Set([{}] * 6), names=file) == [2, 4]
    file.write_text("n4\nnever\n")
    with pytest.raises(InputError, match=r"names\.txt: set has no image .* named never"):
        taken(Set([{}] * 6), names=file)
    for content in (b"", b"\xff\xfe"):
        file.write_bytes(content)
        with pytest.raises(InputError, match=r"names\.txt"):
            Selection(SelectionSettings(names=file))
    with pytest.raises(InputError, match="cannot be read"):
        Selection(SelectionSettings(names=Path("/nowhere")))


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"min_score": 1.0}, "No image of set has the attribute score; there are: colour"),
        ({"best": 1}, "attribute score"),
        ({"label": "0"}, "set has no labels"),
        ({"num_images": 7}, "6 images to take; 7 were asked for"),
    ],
)
def test_what_no_image_has(chosen: dict, message: str) -> None:
    with pytest.raises(PgtoolsError, match=message):
        taken(Set([{"colour": "red"}] * 6), **chosen)


def test_the_best_are_of_those_with_a_score() -> None:
    source = Set([{"score": -1.0}, {}, {"score": -5.0}, {}])
    assert taken(source, best=2) == [0, 2]
    with pytest.raises(InputError, match="2 images with a score to choose from; 3 were asked for"):
        taken(source, best=3)


def test_what_no_image_has_is_told() -> None:
    with pytest.raises(InputError, match="attribute score; there are: none at all"):
        taken(Set([{}]), best=1)
    with pytest.raises(InputError, match="no class 3; it has 3"):
        taken(Set([{}] * 2, [0, 1]), label="0,3")
    with pytest.raises(UsageError, match="--label"):
        Selection(SelectionSettings(label="cat"))


@pytest.mark.parametrize("chosen", [{"best": 1}, {"min_score": 0.5}])
def test_a_score_beyond_any_float_names_its_image(chosen: dict) -> None:
    with pytest.raises(InputError, match="set: the score of n1 is too large a number") as caught:
        taken(Set([{"score": 1}, {"score": 10**400}]), **chosen)
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 200
