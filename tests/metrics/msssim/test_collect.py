from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pgtools.errors import InputError
from pgtools.metrics.held import Budget
from pgtools.metrics.measure import SetOfImages
from pgtools.metrics.msssim import collect, draw_pairs, ms_ssim, waiting
from pgtools.metrics.msssim.collect import PairScores, RandomPairs
from pgtools.metrics.msssim.waiting import Waiting
from tests.pictures import smooth_images

CPU = torch.device("cpu")
COUNT, SIDE = 13, 16
IMAGES = np.random.default_rng(0).permutation(smooth_images(COUNT, SIDE, 3))


def begin(pairs: int, budget: Budget | None = None) -> PairScores:
    return PairScores(SetOfImages("set", "fake", COUNT, SIDE), draw_pairs(COUNT, pairs, 5), CPU, budget)


def feed(scores: PairScores, numbers: Sequence[int], batch: int) -> None:
    for start in range(0, len(numbers), batch):
        some = list(numbers[start : start + batch])
        scores.update(torch.from_numpy(IMAGES[some]), some)


def wanted(scores: PairScores) -> np.ndarray:
    a, b = (torch.from_numpy(IMAGES[numbers]) for numbers in scores.pairs.T)
    return ms_ssim(a, b).numpy()


class TestOneProcess:
    @settings(max_examples=30, deadline=None)
    @given(order=st.permutations(range(COUNT)), batch=st.integers(1, COUNT), pairs=st.sampled_from([1, 6, 7, 40]))
    def test_neither_order_nor_batch_changes_a_score(self, order: list[int], batch: int, pairs: int):
        scores = begin(pairs)
        feed(scores, order, batch)
        np.testing.assert_array_equal(scores.scores, wanted(scores))
        # Nobody waits once all have come.
        assert len(scores._waiting) == 0
        scores.finish()

    def test_what_is_measured_in_one_go_changes_no_score(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(collect, "AT_ONCE", 2 * 3 * SIDE**2)
        scores = begin(40)
        feed(scores, range(COUNT), COUNT)
        np.testing.assert_array_equal(scores.scores, wanted(scores))

    def test_partners_come_together_in_the_reading_order(self):
        recipe = RandomPairs(None, 5)
        order = recipe.reading_order(COUNT)
        assert sorted(order) == list(range(COUNT))
        scores = recipe.begin(SetOfImages("set", "fake", COUNT, SIDE), CPU)
        for start in range(0, COUNT, 2):
            feed(scores, order[start : start + 2], 2)
            assert len(scores._waiting) == 0
        assert len(scores.scores) == COUNT // 2
        np.testing.assert_array_equal(scores.scores, wanted(scores))

    def test_an_image_waits_only_for_its_last_partner(self):
        scores = PairScores(SetOfImages("set", "fake", 4, SIDE), np.array([[0, 2], [2, 1]]), CPU)
        waits = []
        for number in range(4):
            feed(scores, [number], 1)
            waits.append(scores._waiting.numbers)
        assert waits == [[0], [0, 1], [], []]

    def test_a_missing_image_is_told(self):
        scores = begin(6)
        absent = int(scores.pairs[2, 0])
        feed(scores, [number for number in range(COUNT) if number != absent], 4)
        with pytest.raises(InputError, match="set: 1 of 6 pairs lack an image"):
            scores.finish()

    @pytest.mark.parametrize(
        ("count", "side", "said"), [(1, 16, "1 image"), (4, 8, "8² pixels"), (4, 48, "48² pixels")]
    )
    def test_sets_without_a_score_are_refused_at_the_start(self, count: int, side: int, said: str):
        with pytest.raises(InputError, match=said):
            RandomPairs(None, 0).begin(SetOfImages("set", "fake", count, side), CPU)


class TestProcesses:
    @settings(max_examples=30, deadline=None)
    @given(owners=st.lists(st.integers(0, 2), min_size=COUNT, max_size=COUNT), pairs=st.sampled_from([6, 40]))
    def test_several_are_as_good_as_one(self, owners: list[int], pairs: int):
        processes = [begin(pairs) for _ in range(3)]
        for rank, own in enumerate(processes):
            feed(own, [number for number, owner in enumerate(owners) if owner == rank], 4)
        first, *others = processes
        for other in others:
            for piece in other.parts():
                first.absorb(piece)
        np.testing.assert_array_equal(first.scores, wanted(first))
        assert len(first._waiting) == 0

    def test_only_what_still_waits_travels(self):
        scores = PairScores(SetOfImages("set", "fake", 5, SIDE), np.array([[0, 1], [2, 3]]), CPU)
        feed(scores, [0, 1, 2, 4], 3)
        (found, values), (numbers, images) = (value for piece in scores.parts() for value in piece.values())
        assert found.tolist() == [0] and values.tolist() == [scores.scores[0]]
        assert numbers.tolist() == [2]
        np.testing.assert_array_equal(images, IMAGES[[2]])


class TestWaiting:
    def test_images_beyond_the_budget_lie_on_disk(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(waiting, "BLOCK_BYTES", 4 * 3 * SIDE**2)
        budget = Budget(1e-9 * 4 * 3 * SIDE**2)
        scores = begin(40, budget)
        feed(scores, range(COUNT - 3), 3)
        assert [block.spilled for block in scores._waiting._blocks] == [False, True, True]
        feed(scores, range(COUNT - 3, COUNT), 3)
        np.testing.assert_array_equal(scores.scores, wanted(scores))
        scores.close()
        assert budget.left == 4 * 3 * SIDE**2

    def test_room_is_used_again(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(waiting, "BLOCK_BYTES", 2 * 3 * SIDE**2)
        held = Waiting((3, SIDE, SIDE), Budget())
        for number in range(COUNT):
            held.put(number, IMAGES[number])
            if number:
                np.testing.assert_array_equal(held.get([number, number - 1]), IMAGES[[number, number - 1]])
                held.drop(number - 1)
        assert len(held._blocks) == 1
        assert held.numbers == [COUNT - 1] and 0 not in held
