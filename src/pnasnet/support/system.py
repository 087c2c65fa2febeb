"""Memory and processors that this process may use, within the limits of its container."""

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_MEMORY = Path("/proc/meminfo")

_NO_MEMORY = re.compile(
    r"out of (\w+ )?memory|out_of_(\w+_)?memory|not enough memory|max size of memory"
    r"|(can(no|')t|failed to|unable to|could not) allocate|alloc(ation)?_fail(ed|ure)|bad[ _]alloc",
    re.IGNORECASE,
)
"""Matches the messages of torch, cuBLAS, cuDNN, OpenVINO, ONNX Runtime, the C++ library and the system."""


def processors() -> int:
    """Return the number of processors that this process may use, within the quotas of its control groups.

    A fraction counts as a whole processor, so that a quota can be used up.
    """
    quota = processor_quota()
    return _usable() if quota is None else quota


def processor_quota() -> int | None:
    """Return the number of processors that the control groups allow, or None if they set no lower limit.

    Libraries that choose their own number of threads do not know of quotas, and would be throttled.
    """
    quota = max(1, min((math.ceil(quota) for quota in cgroup_processors()), default=_usable()))
    return quota if quota < _usable() else None


def _usable() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def has_int8_instructions(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool | None:
    """Return whether this x86 CPU multiplies int8 by one instruction (VNNI), or None if that is unknown."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:  # not Linux
        return None
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), None)
    return None if flags is None else any("vnni" in flag for flag in flags)


def free_memory() -> int | None:
    """Return the number of bytes free on this machine and in this container, or None if it is unknown.

    On other systems than Linux, return the whole memory of the machine.
    """
    return min([*_free(), *cgroup_free()], default=None)


def lacks_memory(error: BaseException) -> bool:
    """Return whether an error of any library means too little memory; only some of them have a class for it."""
    return isinstance(error, MemoryError) or bool(_NO_MEMORY.search(str(error)))


def _free() -> Iterator[int]:
    """Yield the bytes available without swapping on Linux, or else all memory of the machine."""
    try:
        lines = _MEMORY.read_text().splitlines() if _MEMORY.exists() else []
        available = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
        yield from available or [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    except (AttributeError, OSError, ValueError):  # Windows
        return


def cgroup_free(root: Path = _ROOT, own: Path = _OWN) -> Iterator[int]:
    """Yield the bytes that each limited control group of this process has left, innermost first."""
    for group, version in _groups("memory", root, own):
        limit, usage, reclaimable = (
            ("memory.max", "memory.current", "inactive_file")
            if version == 2
            else ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        )
        try:
            most = (group / limit).read_text().strip()
            if not most.isdecimal():  # "max"
                continue
            used = int((group / usage).read_text())
            stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            # Cached files count as used, but are dropped when memory is needed.
            yield max(int(most) - used + int(stat.get(reclaimable, 0)), 0)
        except (OSError, ValueError):
            continue  # a container sees only its own groups


def cgroup_processors(root: Path = _ROOT, own: Path = _OWN) -> Iterator[float]:
    """Yield the processors that each limited control group of this process may use, innermost first."""
    for group, version in _groups("cpu", root, own):
        try:
            if version == 2:
                quota, period = (group / "cpu.max").read_text().split()
            else:
                quota, period = ((group / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
            if quota.isdecimal() and int(period) > 0:  # else "max", or -1
                yield int(quota) / int(period)
        except (OSError, ValueError):
            continue  # a container sees only its own groups


def _groups(controller: str, root: Path, own: Path) -> Iterator[tuple[Path, int]]:
    """Yield the folder of each control group of this process with its version (1 or 2), innermost first."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        inner = Path(path.lstrip("/"))
        if not controllers:
            tops, version = [root], 2
        elif controller in controllers.split(","):
            tops, version = [root / controller, root / controllers], 1  # such as cpu, a link to cpu,cpuacct
        else:
            continue
        top = next((each for each in tops if each.is_dir()), tops[0])
        for group in (inner, *inner.parents):
            yield top / group, version
