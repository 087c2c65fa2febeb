"""The log on standard error: each line once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.cli_runs import MODEL, PHOTOS

PROGRAM = """
import logging, sys
from pnasnet.cli.logs import show_logs
show_logs(quiet="-q" in sys.argv)
logging.warning("of a library, which installs a handler of the root logger")
logger = logging.getLogger("pnasnet.engines")
for _ in range(2):
    logger.warning("slow")
    logger.info("engine openvino")
show_logs(quiet=False)
logger.warning("slow")
"""


@pytest.mark.parametrize("options", [[], ["-q"]])
def test_lines_are_printed_once_for_each_command(options: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *options], capture_output=True, text=True, check=True, timeout=300
    )
    ours = [line for line in done.stderr.splitlines() if "of a library" not in line]
    assert ours == ["slow", *([] if options else ["engine openvino"]), "slow"]


def test_a_home_and_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    nowhere = str(tmp_path / "file")
    environment = {**os.environ, "PNASNET_OFFLINE": "1", "PNASNET_CACHE": f"{nowhere}/cache", "HOME": nowhere}
    command = [sys.executable, "-m", "pnasnet", "embed", str(PHOTOS), "-m", MODEL[1], "-o", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == len(set(lines))
    assert sum("the compiled model is not cached" in line for line in lines) == 1
