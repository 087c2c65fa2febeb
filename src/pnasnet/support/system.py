"""What this process may take of the machine: memory and processors."""

import os
from collections.abc import Iterator
from pathlib import Path


def processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def free_memory() -> int | None:
    """Return how many bytes are free to be taken, on this machine and in this container; None where that is not told.

    Where there is no Linux, all of the memory is the best that is known.
    """
    return min([*_free(), *cgroup_free()], default=None)


def _free(path: Path = Path("/proc/meminfo")) -> Iterator[int]:
    """Yield what Linux could give to a process without swapping, or else what the machine has."""
    try:
        lines = path.read_text().splitlines() if path.exists() else []
        told = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
        yield from told or [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    except (AttributeError, OSError, ValueError):  # no such thing on Windows
        return


def cgroup_free(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> Iterator[int]:
    """Yield what each of the control groups that this process is in, as in a container, has left of its limit."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield from _left(root, path, ("memory.max", "memory.current", "inactive_file"))
        elif "memory" in controllers.split(","):
            files = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            yield from _left(root / "memory", path, files)


def _left(root: Path, path: str, files: tuple[str, str, str]) -> Iterator[int]:
    limit, usage, reclaimable = files
    inner = Path(path.lstrip("/"))
    for group in (root / inner, *(root / parent for parent in inner.parents)):
        try:
            most = (group / limit).read_text().strip()
            if not most.isdecimal():  # "max"
                continue
            used = int((group / usage).read_text())
            stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):
            continue  # a container sees only its own groups
        # Files that were read and are cached count as used, and make room when it is needed.
        yield max(int(most) - used + int(stat.get(reclaimable, 0)), 0)
