"""What is free: on this machine, and within the limits of control groups."""

from pathlib import Path

import pytest

from pnasnet.support.system import cgroup_free, free_memory


def test_this_machine_has_some(monkeypatch: pytest.MonkeyPatch) -> None:
    free = free_memory()
    assert free is not None
    assert 2**20 < free < 2**50
    monkeypatch.setattr(Path, "read_text", lambda path: "0::/\n" if path.name == "cgroup" else "MemTotal: 9 kB\n")
    total = free_memory()
    assert total is not None
    assert free < total < 2**50


def write_group(folder: Path, names: tuple[str, str], limit: str, usage: int, stat: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in ((names[0], f"{limit}\n"), (names[1], f"{usage}\n"), ("memory.stat", stat)):
        (folder / name).write_text(text)


V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes")
V2 = ("memory.max", "memory.current")


def test_limits_of_control_groups(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("0::/jobs/one\n")
    write_group(tmp_path / "jobs/one", V2, "max", 100, "inactive_file 0\n")
    write_group(tmp_path / "jobs", V2, "5000", 4000, "anon 3\ninactive_file 500\n")
    assert list(cgroup_free(tmp_path, own)) == [1500]
    write_group(tmp_path, V2, "1000", 4000, "inactive_file 500\n")  # as a container sees its own
    assert list(cgroup_free(tmp_path, own)) == [1500, 0]


def test_limits_of_control_groups_of_version_1(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("12:cpu,cpuacct:/x\n4:memory:/docker/abc\n1:name=systemd:/x\n")
    write_group(tmp_path / "memory", V1, "3000", 1000, "inactive_file 1\ntotal_inactive_file 200\n")
    assert list(cgroup_free(tmp_path, own)) == [2200]


def test_no_control_groups(tmp_path: Path) -> None:
    assert list(cgroup_free(tmp_path, tmp_path / "nowhere")) == []
