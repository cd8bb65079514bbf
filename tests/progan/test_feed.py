from __future__ import annotations

import functools
import gc
import itertools
import os
import subprocess
import sys
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from pgtools.errors import InputError
from pgtools.imaging.pyramid import mean_pyramid
from pgtools.progan.feed import Feed, FeedSettings
from pgtools.progan.feed import feed as feed_module
from pgtools.progan.feed.kept import Kept, KeptLevels
from pgtools.progan.feed.order import Order
from pgtools.progan.feed.transfer import Transfer
from pgtools.progan.schedule import Wanted
from pgtools.runtime.workers import in_threads
from pgtools.stores.opening import open_source
from tests.pictures import noise_images
from tests.progan.conftest import Pictures

CPU = torch.device("cpu")
IMAGES = noise_images(20, 16)
PYRAMID = mean_pyramid(IMAGES)
# As a growing run asks: 4² until 32 images, then 8², then 16² with a smaller minibatch.
GROWING = [Wanted(0, 8, 4), *(Wanted(s, 8, 4) for s in (8, 16, 24)), *(Wanted(s, 8, 8) for s in (32, 40, 48))]
GROWING += [Wanted(s, 4, 16) for s in range(56, 96, 4)]


class Watched(Pictures):
    """A source that counts what is read of it, and does as it is told before."""

    def __init__(self, images: NDArray[np.uint8] = IMAGES, before: Callable[[int, int], object] | None = None) -> None:
        super().__init__(images)
        self.read_by: list[tuple[int, int, str]] = []
        self._before = before or (lambda number, level: None)

    def read(self, indices: Sequence[int], level: int | None = None) -> NDArray[np.uint8]:
        for number in indices:
            self._before(number, level or 0)
            self.read_by.append((number, level or 0, threading.current_thread().name))
        return super().read(indices, level)

    def has_read(self, count: int) -> bool:
        return len(self.read_by) >= count

    def read_here(self) -> int:
        return sum(name == threading.current_thread().name for _, _, name in self.read_by)

    def count(self, level: int) -> int:
        return sum(read == level for _, read, _ in self.read_by)


def feed_of(source: Pictures, plan: Sequence[Wanted] = GROWING, *, device: torch.device = CPU, **other: Any) -> Feed:
    rows = other.pop("rows", np.arange)
    return Feed(source, iter(plan), seed=3, device=device, rows=rows, settings=FeedSettings(**other))


def until(condition: Callable[[], bool]) -> None:
    """Wait for other threads; a test that waits in vain fails here instead of hanging."""
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.005)
    raise AssertionError("nothing happened for ten seconds")


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("reader-")]


@pytest.fixture(autouse=True)
def _no_reader_is_left() -> Iterator[None]:
    yield
    assert not readers()


@pytest.fixture
def kept_on_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the way of a GPU that has room, as far as a CPU can go it."""
    monkeypatch.setattr(Transfer, "free_on_device", lambda self: 1 << 40)


def test_an_epoch_shows_every_image_once() -> None:
    order = Order(20, seed=0)
    first, second = order.numbers(0, 20), order.numbers(20, 20)
    assert sorted(first) == sorted(second) == list(range(20))
    assert list(first) != list(second)
    assert list(Order(20, seed=1).numbers(0, 20)) != list(first)


def test_the_order_is_that_of_runs_begun_before() -> None:
    # Another order would resume a run with images that it has just seen.
    assert Order(6, seed=0).numbers(3, 6).tolist() == [4, 5, 0, 1, 4, 0]


def test_the_order_depends_on_what_was_shown_not_on_the_batches() -> None:
    parts = [Order(20, seed=0).numbers(start, 8) for start in range(0, 64, 8)]
    np.testing.assert_array_equal(np.concatenate(parts), Order(20, seed=0).numbers(0, 64))


def plain(images: NDArray[np.uint8], plan: Sequence[Wanted]) -> list[NDArray[np.uint8]]:
    """The plan's minibatches from the definition: the images that follow, epoch after epoch."""
    pyramid, order = mean_pyramid(images), Order(len(images), seed=3)
    return [np.stack([pyramid[w.level][order.numbers(w.shown + i, 1)[0]] for i in range(w.count)]) for w in plan]


steps = st.tuples(st.integers(1, 9), st.sampled_from([4, 8, 16]))


@settings(max_examples=40, deadline=None)
@given(
    size=st.integers(1, 20),
    begins=st.integers(0, 50),
    parts=st.lists(steps, min_size=1, max_size=12),
    workers=st.sampled_from([0, 1, 4]),
    # In bytes: nothing, some levels of some sizes, everything.
    memory=st.sampled_from([0, 500, 3_000, 16_000, 10**9]),
    on_device=st.booleans(),
    ahead=st.sampled_from([1, 2_000, 10**9]),
)
def test_readers_and_memory_never_change_a_minibatch(
    size: int, begins: int, parts: list[tuple[int, int]], workers: int, memory: int, on_device: bool, ahead: int
) -> None:
    starts = itertools.accumulate((count for count, _ in parts), initial=begins)
    plan = [Wanted(shown, count, level) for shown, (count, level) in zip(starts, parts, strict=False)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feed_module, "AHEAD_BYTES", ahead)
        patch.setattr(feed_module, "PORTION_IMAGES", 3)
        patch.setattr(Transfer, "free_on_device", lambda self: 10_000 if on_device else 0)
        with feed_of(Pictures(IMAGES[:size]), plan, workers=workers, memory=memory / 1e9) as feed:
            for wanted in plain(IMAGES[:size], plan):
                np.testing.assert_array_equal(feed.next().images.numpy(), wanted)
            with pytest.raises(StopIteration):
                feed.next()


def test_processes_divide_the_minibatches_of_one(source: Pictures) -> None:
    whole = feed_of(source, workers=0).next().images
    parts = [feed_of(source, workers=0, rows=lambda n, r=rank: np.arange(r, n, 2)).next().images for rank in (0, 1)]
    assert torch.equal(torch.stack(parts, dim=1).flatten(0, 1), whole)


@pytest.mark.parametrize("workers", [0, 3])
def test_a_level_that_fits_is_read_once(workers: int) -> None:
    source, plan = Watched(), [Wanted(shown, 8, 8) for shown in range(0, 80, 8)]
    with feed_of(source, plan, workers=workers) as feed:
        for _ in plan:
            feed.next()
    assert Counter(number for number, _, _ in source.read_by) == dict.fromkeys(range(20), 1)


@pytest.mark.usefixtures("kept_on_device")
def test_a_level_that_fits_the_device_is_read_once() -> None:
    test_a_level_that_fits_is_read_once(3)


def test_a_level_that_does_not_fit_is_read_for_each_minibatch() -> None:
    source, plan = Watched(), [Wanted(shown, 8, 8) for shown in range(0, 80, 8)]
    with feed_of(source, plan, workers=2, memory=20 * 3 * 8 * 8 * 0.99 / 1e9) as feed:
        for _ in plan:
            feed.next()
    assert source.count(8) == 80


def test_a_level_that_finds_no_memory_is_streamed(monkeypatch: pytest.MonkeyPatch, source: Pictures) -> None:
    def fail(*args: object, **names: object) -> None:
        raise MemoryError

    monkeypatch.setattr("pgtools.progan.feed.kept.Kept.__init__", fail)
    with feed_of(source) as feed:
        np.testing.assert_array_equal(feed.next().images.numpy(), plain(source.images, GROWING)[0])


def test_processes_of_one_machine_share_the_memory() -> None:
    for share, fits in [(1, True), (2, True), (3, False)]:
        levels = KeptLevels(10, 2 * 10 * 3 * 64 / 1e9, share=share, transfer=Transfer(CPU))
        assert (levels.of(8) is not None) is fits


def test_a_level_waits_until_there_is_room_beside_the_one_before() -> None:
    levels = KeptLevels(10, 10 * 3 * 64 / 1e9, share=1, transfer=Transfer(CPU))
    assert levels.of(4) is not None
    assert levels.of(8) is None
    levels.only({8})
    assert levels.of(8) is not None


def test_a_gpu_is_asked_once_for_a_level_and_the_answer_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    free, asked = [0], []

    def free_on_device(self: Transfer) -> int:
        asked.append(free[0])
        return free[0]

    monkeypatch.setattr(Transfer, "free_on_device", free_on_device)
    source = Watched()
    plan = [Wanted(shown, 8, 8) for shown in range(0, 80, 8)] + [Wanted(shown, 8, 16) for shown in range(80, 120, 8)]
    with feed_of(source, plan, workers=0, memory=1e-9) as feed:
        for wanted in plan[:10]:
            feed.next()
            free[0] = 1 << 40 if wanted.shown >= 8 else 0  # a job beside this one ends
    assert (len(asked), source.count(8)) == (2, 80)  # of 8² and 16²


def test_a_level_that_was_let_go_is_asked_for_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    levels = KeptLevels(10, 1e-9, share=1, transfer=Transfer(CPU))
    assert levels.of(8) is None
    monkeypatch.setattr(Transfer, "free_on_device", lambda self: 1 << 40)
    levels.only({8})
    assert levels.of(8) is None
    levels.only({4})
    assert levels.of(8) is not None


def test_a_level_is_let_go_with_its_last_minibatch(monkeypatch: pytest.MonkeyPatch, source: Pictures) -> None:
    held: dict[int, weakref.ref[Kept]] = {}
    begin = Kept.__init__

    def remember(self: Kept, size: int, level: int, **other: Any) -> None:
        held[level] = weakref.ref(self)
        begin(self, size, level, **other)

    monkeypatch.setattr(Kept, "__init__", remember)
    with feed_of(source, workers=0) as feed:
        for batch in GROWING[:4]:
            assert batch.level == 4
            assert held.get(4, lambda: None)() or batch.shown == 0
            feed.next()
        assert held[4]() is None
        assert held[8]() is not None


def test_readers_are_ahead_of_the_trainer_and_over_the_border_of_a_level() -> None:
    source = Watched(before=lambda number, level: time.sleep(0.001))
    with feed_of(source, workers=1, memory=0) as feed:
        feed.next()
        first = source.read_here()
        for batch in GROWING[1:]:
            # The trainer is at work here: the source is read all the same, at a new level too.
            until(functools.partial(source.has_read, batch.shown + batch.count))
            feed.next()
    assert source.read_here() == first  # the trainer's thread found everything there


def test_two_readers_read_at_the_same_time() -> None:
    both = threading.Barrier(3)

    def meet(number: int, level: int) -> None:
        if level == 16:
            both.wait(timeout=10)

    plan = [Wanted(0, 8, 4), Wanted(8, 1, 16), Wanted(9, 1, 16)]
    with feed_of(Watched(before=meet), plan, workers=2) as feed:
        feed.next()
        both.wait(timeout=10)  # with one reader nobody would ever come
        feed.next(), feed.next()


def test_reading_ahead_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    # Room for two and a half minibatches; what is under way when the room is full still comes.
    monkeypatch.setattr(feed_module, "AHEAD_BYTES", 10 * 3 * 16 * 16)
    monkeypatch.setattr(feed_module, "AHEAD_IMAGES", 1000)
    source, plan = Watched(), [Wanted(shown, 4, 16) for shown in range(0, 400, 4)]
    with feed_of(source, plan, workers=2, memory=0) as feed:
        feed.next()
        until(lambda: len(source.read_by) == 4 + 12)
        time.sleep(0.05)
        assert len(source.read_by) == 4 + 12


def test_reading_ahead_is_bounded_by_an_epoch() -> None:
    source, plan = Watched(), [Wanted(shown, 4, 4 if shown < 40 else 8) for shown in range(0, 400, 4)]
    with feed_of(source, plan, workers=2) as feed:
        feed.next()
        until(lambda: len(source.read_by) == 20)
        time.sleep(0.05)
        assert source.count(8) == 0


def test_what_the_caller_waits_for_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]

    def pass_a_second(number: int, level: int) -> None:
        clock[0] += 1

    monkeypatch.setattr(feed_module, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    with feed_of(Watched(before=pass_a_second), workers=0) as feed:
        feed.next()
        clock[0] += 100  # the step
        feed.next()
        assert feed.waited == 16


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_a_damaged_image_is_told_when_its_turn_comes(workers: int) -> None:
    plan = [Wanted(shown, 5, 16) for shown in range(0, 20, 5)]
    bad = set(Order(20, seed=3).numbers(10, 5)[[1, 3]].tolist())

    def fail(number: int, level: int) -> None:
        if number in bad:
            raise InputError(f"pictures: image {number} is damaged.")

    # Streamed, so that images stand in the order of the minibatch; of two faults the first is told.
    with feed_of(Watched(before=fail), plan, workers=workers, memory=0) as feed:
        wanted = plain(IMAGES, plan)
        np.testing.assert_array_equal(feed.next().images.numpy(), wanted[0])
        np.testing.assert_array_equal(feed.next().images.numpy(), wanted[1])
        for _ in range(2):
            with pytest.raises(InputError, match=f"image {Order(20, seed=3).numbers(11, 1)[0]} is damaged"):
                feed.next()


def test_ctrl_c_while_the_trainers_thread_reads_is_heard() -> None:
    def interrupt(number: int, level: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), feed_of(Watched(before=interrupt), workers=0) as feed:
        feed.next()


def test_a_closed_feed_says_so_and_closes_twice(source: Pictures) -> None:
    feed = feed_of(source, workers=2)
    assert [thread.daemon for thread in readers()] == [True, True]  # else Python would wait for them at its end
    feed.close()
    feed.close()
    assert not readers()
    with pytest.raises(ValueError, match="closed"):
        feed.next()


def test_closing_does_not_read_what_is_left() -> None:
    source = Watched(noise_images(400, 4), before=lambda number, level: time.sleep(0.01))
    feed = feed_of(source, [Wanted(shown, 8, 4) for shown in range(0, 400, 8)], workers=1, memory=0)
    feed.next()
    feed.close()
    read = len(source.read_by)
    assert read < 200
    time.sleep(0.03)
    assert len(source.read_by) == read


def test_a_forgotten_feed_ends_its_readers(source: Pictures) -> None:
    feed = feed_of(source, workers=2)
    feed.next()
    del feed
    gc.collect()
    assert not readers()


@pytest.mark.slow
def test_a_reader_that_is_stuck_keeps_no_process_alive() -> None:
    script = """
import time, torch, numpy as np
from pgtools.progan.feed import readers, Feed, FeedSettings
from pgtools.progan.schedule import Wanted
from tests.progan.conftest import Pictures
class Stuck(Pictures):
    def read(self, indices, level=None):
        time.sleep(0 if 0 in indices else 1000)
        return super().read(indices, level)
readers.CLOSING_SECONDS = 0.1
images, plan = np.zeros((2, 3, 4, 4), np.uint8), iter([Wanted(i, 1, 4) for i in range(9)])
feed = Feed(Stuck(images), plan, seed=0, device=torch.device("cpu"), rows=np.arange, settings=FeedSettings(0, 2))
raise KeyboardInterrupt
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stderr.strip().endswith("KeyboardInterrupt")


def test_readers_start_no_threads_of_their_own() -> None:
    seen: list[set[int]] = []

    class Threaded(Watched):
        def read(self, indices: Sequence[int], level: int | None = None) -> NDArray[np.uint8]:
            # A nap each, so that one thread cannot have done all of it before another begins.
            idents = in_threads(lambda _: time.sleep(0.002) or threading.get_ident(), range(8))
            if threading.current_thread() in readers():
                seen.append(set(idents))
            return super().read(indices, level)

    with feed_of(Threaded(), workers=2, memory=0) as feed:
        feed.next()
        until(lambda: len(seen) >= 4)
    assert all(len(idents) == 1 for idents in seen)


@pytest.mark.parametrize("memory", [None, 0])
def test_labels_come_with_their_images(memory: float | None, source: Pictures) -> None:
    source.labels = np.arange(20) * 7
    with feed_of(source, labels=True, memory=memory) as feed:
        for wanted in GROWING:
            _, labels = feed.next()
            assert labels is not None
            assert labels.dtype == torch.int64
            assert labels.tolist() == (Order(20, seed=3).numbers(wanted.shown, wanted.count) * 7).tolist()


def test_labels_that_are_not_there_are_asked_for_in_vain(source: Pictures) -> None:
    with pytest.raises(InputError, match="pictures has no labels"):
        feed_of(source, labels=True)
    assert feed_of(source, workers=0).next().labels is None


def test_grey_images_come_in_three_channels(tmp_path: Path) -> None:
    for i, image in enumerate(IMAGES[:5]):
        Image.fromarray(image[0]).save(tmp_path / f"{i}.png")
    source = open_source(tmp_path)
    with Feed(source, iter([Wanted(0, 5, 16)]), seed=3, device=CPU, rows=np.arange, settings=FeedSettings()) as feed:
        images = feed.next().images.numpy()
    wanted = IMAGES[Order(5, seed=3).numbers(0, 5)][:, :1].repeat(3, axis=1)
    np.testing.assert_array_equal(images, wanted)


@pytest.mark.gpu
@pytest.mark.parametrize(("share", "memory"), [(0.25, None), (0.0, None), (0.25, 0)])
def test_a_gpu_gets_the_same_minibatches(
    share: float, memory: float | None, source: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Kept on the GPU, kept in main memory, streamed.
    monkeypatch.setattr("pgtools.progan.feed.kept.GPU_SHARE", share)
    source.labels = np.arange(20)
    with feed_of(source, device=torch.device("cuda"), memory=memory, labels=True) as feed:
        for wanted, images in zip(GROWING, plain(source.images, GROWING), strict=True):
            torch.cuda._sleep(5_000_000)  # the step before is still at work when the next minibatch is asked for
            fetched = feed.next()
            assert fetched.images.device.type == "cuda"
            assert fetched.labels is not None
            assert fetched.labels.tolist() == Order(20, seed=3).numbers(wanted.shown, wanted.count).tolist()
            np.testing.assert_array_equal(fetched.images.cpu().numpy(), images)


@pytest.mark.gpu
@pytest.mark.parametrize("memory", [None, 0])
def test_a_minibatch_stays_whole_while_a_gpu_step_reads_it(memory: float | None) -> None:
    images, plan = noise_images(64, 64), [Wanted(shown, 16, 64) for shown in range(0, 640, 16)]
    sums = []
    with feed_of(Pictures(images), plan, device=torch.device("cuda"), memory=memory) as feed:
        for _ in plan:
            fetched = feed.next().images
            torch.cuda._sleep(20_000_000)  # its memory is let go here, long before the sum below has read it
            sums.append(fetched.double().sum())
            del fetched
    wanted = [float(batch.astype(np.float64).sum()) for batch in plain(images, plan)]
    assert torch.stack(sums).tolist() == wanted
