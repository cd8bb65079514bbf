"""What TensorBoard shows of a run is what its logs say. Here its warnings would be errors, so none comes through."""

from __future__ import annotations

import builtins
import json
import shutil
import warnings
from typing import Any

import numpy as np
import pytest

from pgtools.errors import OutputError, UsageError
from pgtools.progan.run.folder import RunFolder
from pgtools.progan.run.record import TAGS, Record, check_tensorboard
from tests.progan.run.conftest import checkpoint_of, result_of

GREY = np.full((8, 16, 3), 100, np.uint8)


def line_of(images: int) -> dict[str, Any]:
    figures = {name: 0.5 * i + images for i, name in enumerate(TAGS)}
    return {"images": images, "kimg": images / 1000, **figures, "memory_gb": None}


def write(run: RunFolder, *moments: int, tensorboard: bool = True) -> None:
    with Record(run, tensorboard=tensorboard) as record:
        write_points(record, *moments)


def write_points(record: Record, *moments: int) -> None:
    for images in moments:
        record.tick(line_of(images))
        record.grid(f"fakes-{images:09d}", GREY)
        record.score({"images": images, "kimg": images / 1000, "result": result_of(7.5)})


def shown(run: RunFolder) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        found = EventAccumulator(str(run.tensorboard), size_guidance={"images": 0, "scalars": 0})
        return found.Reload()


def points(run: RunFolder, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in shown(run).Scalars(tag)]


def test_without_tensorboard_there_are_lines_and_grids(run: RunFolder) -> None:
    write(run, 64, 128, tensorboard=False)
    assert [json.loads(line) for line in run.log.read_text().splitlines()] == [line_of(64), line_of(128)]
    assert len(run.scores.read_text().splitlines()) == 2
    assert (run.path / "grids" / "fakes-000000128.png").exists()
    assert not run.tensorboard.exists()


def test_tensorboard_shows_what_the_logs_say(run: RunFolder) -> None:
    write(run, 64, 128)
    found = shown(run)
    tags = {tag for name, tag in TAGS.items() if name != "memory_gb"}
    assert set(found.Tags()["scalars"]) == tags | {"score/swd/16", "score/swd/average"}
    for name, tag in TAGS.items():
        if name != "memory_gb":
            assert points(run, tag) == [(images, line_of(images)[name]) for images in (64, 128)]
    assert points(run, "score/swd/average") == [(64, 7.5), (128, 7.5)]
    assert points(run, "score/swd/16") == [(64, 15.0), (128, 15.0)]
    pictures = found.Images("grids/fakes")
    assert [(picture.step, picture.width, picture.height) for picture in pictures] == [(64, 16, 8), (128, 16, 8)]


def test_a_metric_of_a_moment_is_written_once(run: RunFolder) -> None:
    with Record(run, tensorboard=True) as record:
        for metric, value in (("swd", 7.5), ("fid", 8.5), ("swd", 7.5)):
            record.score({"images": 64, "kimg": 0.064, "result": result_of(value, metric)})
    lines = [json.loads(line)["result"]["metric"] for line in run.scores.read_text().splitlines()]
    assert lines == ["swd", "fid"]
    assert points(run, "score/swd/average") == [(64, 7.5)]


def test_a_resumed_run_has_every_point_once(run: RunFolder) -> None:
    run.write_checkpoint(checkpoint_of(64))
    write(run, 64, 128, 192)  # killed here: 128 and 192 come again
    run.rewind(64)
    write(run, 128, 192, 256)
    for tag in ("loss/generator", "score/swd/average", "gradient_norm/discriminator"):
        assert [step for step, _ in points(run, tag)] == [64, 128, 192, 256]
    assert [picture.step for picture in shown(run).Images("grids/fakes")] == [64, 128, 192, 256]


def test_a_run_that_rolled_back_within_a_sitting_has_every_point_once(run: RunFolder) -> None:
    with Record(run, tensorboard=True) as record:
        run.write_checkpoint(checkpoint_of(0))
        record.grid("reals", GREY)
        write_points(record, 64)
        run.write_checkpoint(checkpoint_of(64))
        for _ in range(2):
            write_points(record, 128, 192)
            run.rewind(64)
            record.rewound()
            assert [step for step, _ in points(run, "loss/generator")] == [64]  # before anything else is written
        write_points(record, 128, 192, 256)
    for tag in ("loss/generator", "score/swd/average", "gradient_norm/discriminator"):
        assert [step for step, _ in points(run, tag)] == [64, 128, 192, 256]
    found = shown(run)
    assert [picture.step for picture in found.Images("grids/fakes")] == [64, 128, 192, 256]
    assert [picture.step for picture in found.Images("grids/reals")] == [0]


def test_a_rollback_without_tensorboard_opens_none(run: RunFolder) -> None:
    with Record(run) as record:
        record.rewound()
    assert not run.tensorboard.exists()


@pytest.mark.parametrize("saved", [False, True])
def test_a_run_killed_at_its_beginning_has_its_reals_once(run: RunFolder, saved: bool) -> None:
    # The reals come before the first checkpoint, and once more only if that was not written.
    write_reals(run)
    if saved:
        run.write_checkpoint(checkpoint_of(0))
        write(run, 64)
    else:
        write_reals(run)
    assert [picture.step for picture in shown(run).Images("grids/reals")] == [0]


def write_reals(run: RunFolder) -> None:
    with Record(run, tensorboard=True) as record:
        record.grid("reals", GREY)


def test_a_missing_package_is_one_line_before_the_run(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *words: Any, **named: Any) -> Any:
        if name.startswith(("tensorboard", "torch.utils.tensorboard")):
            raise ImportError(name)
        return real(name, *words, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    for call in (check_tensorboard, lambda: Record(run, tensorboard=True)):
        with pytest.raises(UsageError, match="needs the package tensorboard") as caught:
            call()
        assert caught.value.hint == "pip install 'pgtools[tensorboard]'"
    assert not run.tensorboard.exists()
    Record(run).close()


def test_a_figure_that_is_not_finite_is_written_nowhere(run: RunFolder) -> None:
    with Record(run, tensorboard=True) as record, pytest.raises(OutputError, match="not finite"):
        record.tick({**line_of(64), "loss_generator": float("nan")})
    assert not run.log.exists()
    assert shown(run).Tags()["scalars"] == []


def test_a_disk_that_takes_no_more_ends_tensorboard_and_not_the_run(
    run: RunFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Record(run, tensorboard=True) as record:
        from torch.utils.tensorboard import SummaryWriter

        def full(*words: object, **named: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(SummaryWriter, "add_scalar", full)
            record.tick(line_of(64))
        record.tick(line_of(128))
        record.rewound()
        record.tick(line_of(192))
    assert len(run.log.read_text().splitlines()) == 3
    assert capsys.readouterr().err.count("the run goes on without") == 1


@pytest.mark.parametrize("rolled_back", [False, True])
def test_a_folder_that_tensorboard_cannot_have_ends_it_and_not_the_run(
    run: RunFolder, rolled_back: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_folder() -> None:
        shutil.rmtree(run.tensorboard, ignore_errors=True)
        run.tensorboard.write_text("in the way")

    if not rolled_back:
        no_folder()
    with Record(run, tensorboard=True) as record:
        if rolled_back:
            no_folder()
            record.rewound()
        record.tick(line_of(64))
    assert len(run.log.read_text().splitlines()) == 1
    assert capsys.readouterr().err.count("the run goes on without") == 1
