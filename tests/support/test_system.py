"""Memory and processors: of this machine, and within the limits of control groups."""

import errno
import os
from pathlib import Path

import pytest

from pnasnet.support.system import (
    cgroup_free,
    cgroup_processors,
    free_memory,
    has_int8_instructions,
    lacks_memory,
    processor_quota,
    processors,
)


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
    assert list(cgroup_processors(tmp_path, tmp_path / "nowhere")) == []


def write_files(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


def test_quotas_of_processors_in_nested_groups(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("0::/jobs/one\n")
    write_files(tmp_path / "jobs/one", cpu__max="max 100000")
    write_files(tmp_path / "jobs", cpu__max="150000 100000")
    write_files(tmp_path, cpu__max="damaged")
    assert list(cgroup_processors(tmp_path, own)) == [1.5]
    write_files(tmp_path / "jobs/one", cpu__max="50000 100000")
    assert list(cgroup_processors(tmp_path, own)) == [0.5, 1.5]


@pytest.mark.parametrize("mounted", ["cpu", "cpu,cpuacct"])
def test_quotas_of_processors_of_version_1(tmp_path: Path, mounted: str) -> None:
    own = tmp_path / "own"
    own.write_text("12:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n11:cpuset:/\n0::/x\n")
    write_files(tmp_path / mounted / "docker/abc", cpu__cfs_quota_us=-1, cpu__cfs_period_us=100000)
    write_files(tmp_path / mounted, cpu__cfs_quota_us=300000, cpu__cfs_period_us=100000)
    assert list(cgroup_processors(tmp_path, own)) == [3]


@pytest.mark.parametrize(("quotas", "expected"), [([], 4), ([8.0, 2.5], 3), ([0.1], 1), ([4.0, 3.0], 3)])
def test_processors_are_the_fewest_of_all_limits(
    quotas: list[float], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr("pnasnet.support.system.cgroup_processors", lambda: iter(quotas))
    assert processors() == expected
    assert processor_quota() == (expected if quotas and expected < 4 else None)


@pytest.mark.parametrize(
    ("text", "has"),
    [
        ("model name : x\nflags\t\t: fpu avx512f avx512_vnni\n", True),
        ("flags\t\t: fpu avx2 avx_vnni\n", True),
        ("flags\t\t: fpu avx2 avx512f\n", False),
        ("Features\t: fp asimd\n", None),  # ARM names them otherwise
    ],
)
def test_int8_instructions(tmp_path: Path, text: str, has: bool | None) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert has_int8_instructions(tmp_path / "cpuinfo") is has
    assert has_int8_instructions(tmp_path / "missing") is None


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError("Unable to allocate 8.00 TiB for an array with shape (1099511627776,) and data type float64"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to ..."
        ),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),  # on Windows
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.1 GiB"),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),  # pinned memory
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        RuntimeError("MPS backend out of memory (MPS allocated: 1.0 GB)"),
        RuntimeError(
            "Exception from src/plugins/intel_cpu/src/cpu_memory.cpp:257:\nFailed to allocate 8 bytes of memory"
        ),
        RuntimeError("Exception from src/inference/src/cpp/core.cpp:109:\nstd::bad_alloc"),
        RuntimeError("[GPU] Exceeded max size of memory object allocation: requested 9 bytes"),
        RuntimeError("[GPU] CL_OUT_OF_HOST_MEMORY"),
        RuntimeError("[GPU] clEnqueueNDRangeKernel, error code: -4 CL_MEM_OBJECT_ALLOCATION_FAILURE"),
        RuntimeError(
            "[ONNXRuntimeError] : 6 : bfc_arena.cc:376 Failed to allocate memory for requested buffer of size 9"
        ),
        RuntimeError("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Exception during initialization: bad allocation"),
        OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
    ],
    ids=lambda error: str(error).splitlines()[-1][-40:] if str(error) else "none",
)
def test_too_little_memory_in_the_words_of_each_library(error: Exception) -> None:
    assert lacks_memory(error)


@pytest.mark.parametrize(
    "text", ["", "shape mismatch", "CUDA error: an illegal memory access was encountered", "index out of range"]
)
def test_other_errors_are_not_about_memory(text: str) -> None:
    assert not lacks_memory(RuntimeError(text))
