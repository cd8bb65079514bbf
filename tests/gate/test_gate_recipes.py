"""The recipes for GitHub Actions and GitLab in docs/gate.md: their own lines, run by a shell, as the runners do.

Only what cannot be had here is replaced: installing libraries and pgtools and fetching weights do nothing, `pgtools` is
this interpreter's, and gh and curl write down how they were called. The images are few and small, so METRICS and
NUM_IMAGES are others; and the same images are measured once, whichever recipe asks.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml  # comes with the test dependencies dask and datasets
from PIL import Image

from pgtools.models.weights import cache_folder
from tests.pictures import smooth_images

PAGE = Path(__file__).parents[2] / "docs" / "gate.md"
LIBRARIES = "apt-get install --yes libgl1 libglib2.0-0 libsm6 libxext6"
SKIPPED = {
    "pip install pgtools",
    "pgtools models fetch inception-2015-12-05",
    f"apt-get update && {LIBRARIES}",
    f"sudo apt-get update && sudo {LIBRARIES}",
}
# What a step's `if` comes to: (in a check before or after a failure, in a run that accepts).
CONDITIONS = {
    None: ("until a failure", "until a failure"),
    "github.event_name != 'workflow_dispatch'": ("until a failure", "never"),
    "github.event_name == 'workflow_dispatch'": ("never", "until a failure"),
    "${{ !cancelled() }}": ("always", "always"),
    "${{ !cancelled() && github.event.pull_request.head.repo.full_name == github.repository }}": ("always", "never"),
}
COUNT = 48
PGTOOLS = f"""
if [ "$1" != evaluate ]; then
  exec "{sys.executable}" -m pgtools "$@"
fi
kept="$MEASURED/$(cat generator)-$(echo "$*" | cksum | cut -d ' ' -f 1).jsonl"
if [ ! -f "$kept" ]; then
  "{sys.executable}" -m pgtools "$@"
  cp scores.jsonl "$kept"
fi
cp "$kept" scores.jsonl
"""


def recipes() -> list[dict[str, Any]]:
    texts = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return [yaml.safe_load(text) for text in texts]


GITHUB, GITLAB = recipes()


class Runner:
    """A checkout, and a shell with the commands that a runner has."""

    def __init__(self, folder: Path, variables: dict[str, str], measured: Path) -> None:
        self.folder, self.calls, self.code = folder, folder / "calls.txt", 0
        commands = folder / "bin"
        commands.mkdir()
        self._command(commands / "pgtools", PGTOOLS)
        for name in ("gh", "curl"):
            self._command(commands / name, f'echo {name} "$@" >> "{self.calls}"')
        self.calls.touch()
        ours = {"METRICS": "swd,msssim", "NUM_IMAGES": str(COUNT), "MEASURED": str(measured)}
        self.variables = {**os.environ, **variables, **ours, "PATH": f"{commands}:{os.environ['PATH']}"}
        self.errors = ""

    def run(self, text: str, **variables: str) -> None:
        """Run one step's lines; the first exit code that is not 0 stays."""
        lines = [line for line in text.splitlines() if line not in SKIPPED]
        done = subprocess.run(
            ["sh", "-e", "-c", "\n".join(lines)],  # noqa: S607
            cwd=self.folder,
            env={**self.variables, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        self.errors += done.stderr
        self.code = self.code or done.returncode

    def _command(self, path: Path, line: str) -> None:
        path.write_text(f"#!/bin/sh -e\n{line}\n")
        path.chmod(0o755)


def github(runner: Runner, *, accept: bool) -> None:
    for step in GITHUB["jobs"]["gate"]["steps"]:
        when = CONDITIONS[step.get("if")][accept]
        if "run" in step and (when == "always" or (when == "until a failure" and runner.code == 0)):
            given = step.get("env", {})
            runner.run(step["run"], **dict.fromkeys(given, "7"))


def gitlab(runner: Runner, *, accept: bool) -> None:
    job = GITLAB["accept" if accept else "gate"]
    job = {"after_script": [], **GITLAB[job["extends"]], **job}
    for line in [*job["before_script"], *job["script"]]:
        if runner.code == 0:
            runner.run(line)
    code, errors = runner.code, runner.errors
    for line in job["after_script"]:  # does not decide over the job
        runner.run(line)
    assert runner.errors == errors
    runner.code = code


SERVICES = {"github": github, "gitlab": gitlab}
VARIABLES = {
    "github": {"GITHUB_STEP_SUMMARY": "summary.md"},
    "gitlab": {"GATE_TOKEN": "t", "CI_MERGE_REQUEST_IID": "7", "CI_PROJECT_ID": "3", "CI_API_V4_URL": "https://x/v4"},
}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with real images, a generator, and a second set of its images, spoiled."""
    folder = tmp_path_factory.mktemp("checkout")
    real, fakes = (smooth_images(COUNT, 32, seed) for seed in (1, 2))
    noise = np.random.default_rng(0).normal(0, 40, fakes.shape)
    for name, images in {"data/real": real, "good": fakes, "spoiled": (fakes + noise).clip(0, 255)}.items():
        (folder / name).mkdir(parents=True)
        for number, image in enumerate(images.astype(np.uint8)):
            Image.fromarray(image.transpose(1, 2, 0)).save(folder / name / f"{number:03d}.png")
    script = folder / "make-images"
    script.write_text('#!/bin/sh\ncp -r "$(cat generator)" "$1"\n')
    script.chmod(0o755)
    (folder / "generator").write_text("good")
    return folder


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where what was measured is kept."""
    return tmp_path_factory.mktemp("measured")


@pytest.fixture(scope="module")
def accepted(checkout: Path, measured: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkout with the baseline that the recipe for GitHub made."""
    folder = tmp_path_factory.mktemp("accepted") / "repo"
    shutil.copytree(checkout, folder)
    runner = Runner(folder, VARIABLES["github"], measured)
    github(runner, accept=True)
    assert runner.code == 0, runner.errors
    assert runner.calls.read_text() == ""
    shutil.copy(folder / "baseline.json", checkout)
    return checkout


@pytest.mark.parametrize("generator", ["good", "spoiled"])
@pytest.mark.parametrize("service", SERVICES)
def test_a_recipe_checks(accepted: Path, measured: Path, tmp_path: Path, service: str, generator: str) -> None:
    folder = tmp_path / "repo"
    shutil.copytree(accepted, folder)
    (folder / "generator").write_text(generator)
    runner = Runner(folder, VARIABLES[service], measured)
    SERVICES[service](runner, accept=False)
    assert runner.code == {"good": 0, "spoiled": 3}[generator], runner.errors
    head = {"good": "### Gate passed", "spoiled": "### Gate failed"}[generator]
    assert (folder / "gate.md").read_text("utf-8").startswith(head)
    root = ElementTree.parse(folder / "gate.xml").getroot()  # noqa: S314 - our own file
    assert (int(root.attrib["failures"]) > 0) == (generator == "spoiled")
    assert (folder / "scores.jsonl").is_file()
    (call,) = runner.calls.read_text().splitlines()
    if service == "github":
        assert (folder / "summary.md").read_text("utf-8").startswith(head)
        assert call == "gh pr comment 7 --body-file gate.md --edit-last --create-if-none"
        kept = next(step["with"]["path"] for step in GITHUB["jobs"]["gate"]["steps"] if "artifact" in str(step))
    else:
        assert call.endswith("--form body=<gate.md https://x/v4/projects/3/merge_requests/7/notes")
        artifacts = GITLAB["gate"]["artifacts"]
        assert artifacts["when"] == "always"
        kept = "\n".join([*artifacts["paths"], artifacts["reports"]["junit"]])
    assert all((folder / name).is_file() for name in kept.split())  # the baseline too: it came with the checkout


def test_gitlab_accepts_by_hand(checkout: Path, measured: Path, tmp_path: Path) -> None:
    folder = tmp_path / "repo"
    shutil.copytree(checkout, folder)
    (folder / "baseline.json").unlink(missing_ok=True)
    runner = Runner(folder, VARIABLES["gitlab"], measured)
    gitlab(runner, accept=True)
    assert runner.code == 0, runner.errors
    assert all((folder / name).is_file() for name in GITLAB["accept"]["artifacts"]["paths"])


def test_what_is_left_out_is_in_the_recipes() -> None:
    """Else the steps that replace nothing would be forgotten here."""
    steps = GITHUB["jobs"]["gate"]["steps"]
    lines = [step["run"] for step in steps if "run" in step], GITLAB[".measure"]["before_script"]
    found = [[line for line in recipe if line in SKIPPED] for recipe in lines]
    assert [len(recipe) for recipe in found] == [3, 3]
    assert set(found[0]) | set(found[1]) == SKIPPED
    assert {step.get("if") for step in steps} == set(CONDITIONS)
    assert [variable in GITLAB[".measure"]["variables"] for variable in GITHUB["env"]] == [True] * 3


def test_opencv_finds_its_libraries_before_it_is_imported() -> None:
    """Neither python:3.12 nor every runner has a desktop's; nor has the machine of the page for beginners."""
    for lines in (
        [step.get("run", "") for step in GITHUB["jobs"]["gate"]["steps"]],
        GITLAB[".measure"]["before_script"],
    ):
        installs = [i for i, line in enumerate(lines) if LIBRARIES in line.replace("sudo ", "")]
        uses = [i for i, line in enumerate(lines) if line.startswith("pgtools") or "\npgtools" in line]
        assert len(installs) == 1
        assert installs[0] < min(uses)
    assert LIBRARIES in PAGE.with_name("index.md").read_text("utf-8")


def test_the_cache_holds_nothing_that_changes_under_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that never changes is never written again: features of new images would be lost, and old ones carried."""
    steps = GITHUB["jobs"]["gate"]["steps"]
    scripts = ["\n".join(step.get("run", "") for step in steps), "\n".join(GITLAB[".measure"]["before_script"])]
    for script in scripts:
        (line,) = [line for line in script.splitlines() if line.startswith("pgtools evaluate")]
        assert "--no-cache" in line.split()
    (cached,) = [step["with"] for step in steps if "actions/cache" in step.get("uses", "")]
    caches = [(cached["path"], cached["key"], GITHUB["env"]["PGTOOLS_CACHE"])]
    gitlab = GITLAB[".measure"]
    caches.append((gitlab["cache"]["paths"][0], gitlab["cache"]["key"], gitlab["variables"]["PGTOOLS_CACHE"]))
    for path, key, folder in caches:
        monkeypatch.setenv("PGTOOLS_CACHE", str(tmp_path / folder))
        assert cache_folder() == tmp_path / path
        assert key == "pgtools-inception-2015-12-05"
