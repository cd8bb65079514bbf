"""What is free is the least that machine and control groups leave, as in folders laid out like a kernel's."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgtools.runtime.memory import available_memory

GB = 10**9
HOST = 512 * 1024 * 1_000_000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path / "proc/meminfo", "MemTotal:       999999999 kB\nMemAvailable:   512000000 kB\nSwapFree: 1 kB\n")
    return tmp_path


def write(file: Path, text: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{text}\n")


def in_groups(root: Path, *lines: str) -> None:
    write(root / "proc/self/cgroup", "\n".join(lines))


def group(root: Path, name: str, most: object, used: int, idle: int = 0, high: object = "max") -> None:
    folder = root / "sys/fs/cgroup" / name
    stat = f"anon {used - idle}\nfile {idle}\ninactive_anon 77\nactive_file 0\ninactive_file {idle}"
    for entry, text in (("max", most), ("high", high), ("current", used), ("stat", stat)):
        write(folder / f"memory.{entry}", text)


def old_group(root: Path, name: str, most: int, used: int, stat: str) -> None:
    folder = root / "sys/fs/cgroup/memory" / name
    for entry, text in (("limit_in_bytes", most), ("usage_in_bytes", used), ("stat", stat)):
        write(folder / f"memory.{entry}", text)


def test_without_groups_it_is_the_machines(root: Path) -> None:
    assert available_memory(root) == HOST
    in_groups(root, "0::/")
    assert available_memory(root) == HOST


def test_where_nothing_is_told_it_is_none(tmp_path: Path) -> None:
    assert available_memory(tmp_path) is None


def test_a_containers_limit_counts(root: Path) -> None:
    in_groups(root, "0::/")
    group(root, "", 8 * GB, 3 * GB)
    assert available_memory(root) == 5 * GB


def test_cache_that_can_be_dropped_is_free(root: Path) -> None:
    in_groups(root, "0::/")
    group(root, "", 8 * GB, 7 * GB, idle=4 * GB)
    assert available_memory(root) == 5 * GB


def test_a_limit_of_an_outer_group_counts(root: Path) -> None:
    # As Slurm makes them: the job is limited, its steps and tasks are not.
    in_groups(root, "0::/system.slice/slurmstepd.scope/job_7/step_0/user/task_0")
    for name in ("step_0/user/task_0", "step_0/user", "step_0"):
        group(root, f"system.slice/slurmstepd.scope/job_7/{name}", "max", GB)
    group(root, "system.slice/slurmstepd.scope/job_7", 16 * GB, 10 * GB)
    group(root, "system.slice", 100 * GB, 90 * GB)
    group(root, "system.slice/slurmstepd.scope/job_8", GB, GB)
    assert available_memory(root) == 6 * GB


def test_the_least_of_all_limits_counts(root: Path) -> None:
    in_groups(root, "0::/outer/inner")
    group(root, "outer", 20 * GB, 19 * GB)
    group(root, "outer/inner", 8 * GB, 2 * GB)
    assert available_memory(root) == GB
    group(root, "outer/inner", 8 * GB, 2 * GB, high=2 * GB + 5)
    assert available_memory(root) == 5


def test_a_limit_beyond_the_machine_or_none_changes_nothing(root: Path) -> None:
    in_groups(root, "0::/a")
    for most in ("max", 10**15):
        group(root, "a", most, 3 * GB)
        assert available_memory(root) == HOST


def test_more_than_the_limit_leaves_nothing(root: Path) -> None:
    in_groups(root, "0::/a")
    group(root, "a", GB, 2 * GB)
    assert available_memory(root) == 0


def test_groups_of_version_1(root: Path) -> None:
    in_groups(root, "12:cpu,cpuacct:/slurm/job_1", "4:memory:/slurm/job_1/step_0", "1:name=systemd:/x", "0::/y")
    unlimited = 9223372036854771712
    old_group(root, "", unlimited, 50 * GB, "inactive_file 0")
    old_group(root, "slurm/job_1/step_0", unlimited, GB, "inactive_file 0")
    # The group's own cache is less than that of it and the groups below, which its usage counts.
    old_group(root, "slurm/job_1", 6 * GB, 5 * GB, f"inactive_file 5\ntotal_inactive_file {2 * GB}")
    assert available_memory(root) == 3 * GB


def test_a_container_sees_only_its_own_group_under_the_name_it_has_outside(root: Path) -> None:
    in_groups(root, "4:memory:/docker/0a1b", "0::/../../x")
    old_group(root, "", 6 * GB, 5 * GB, "inactive_file 0")
    assert available_memory(root) == GB


@pytest.mark.parametrize("text", ["", "x", "12 kB", "-5", "\xff"])
def test_a_file_that_says_something_else_is_left_out(root: Path, text: str) -> None:
    in_groups(root, "0::/", "nonsense", "", "::")
    group(root, "", 8 * GB, 3 * GB)
    (root / "sys/fs/cgroup/memory.stat").write_text(text)
    assert available_memory(root) == 5 * GB
    (root / "sys/fs/cgroup/memory.current").write_text(text)
    assert available_memory(root) == HOST
