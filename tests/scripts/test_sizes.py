"""scripts/sizes, which keeps files and functions short."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "sizes"


def check(root: Path, exceptions: str = "{}") -> tuple[int, list[str]]:
    script = root / "scripts" / "sizes"
    script.parent.mkdir(exist_ok=True)
    head, _, tail = SCRIPT.read_text().partition("EXCEPTIONS: dict[str, int] = ")
    script.write_text(f"{head}EXCEPTIONS: dict[str, int] = {exceptions}\n{tail[tail.index('def measured') :]}")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, timeout=600)
    return done.returncode, done.stderr.splitlines()


def test_files_and_functions_that_are_too_long_are_named(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "fits.py").write_text("class A:\n    def b(self):\n" + "        b = 1\n" * 49 + "\n" * 299)
    assert check(tmp_path) == (0, [])
    (tmp_path / "src" / "long.py").write_text(
        "class A:\n    async def b(self):\n" + "        b = 1\n" * 50 + "\n" * 299
    )
    assert check(tmp_path) == (
        1,
        [
            "src/long.py: 351 lines, at most 350 are allowed",
            "src/long.py::b: 51 lines, at most 50 are allowed",
        ],
    )


def test_exceptions_may_not_grow_and_leave_the_list_once_they_fit(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_a.py").write_text("\n" * 360)
    assert check(tmp_path, "{'tests/test_a.py': 360}") == (0, [])
    (tmp_path / "tests" / "test_a.py").write_text("\n" * 361)
    assert check(tmp_path, "{'tests/test_a.py': 360}") == (1, ["tests/test_a.py: 361 lines, at most 360 are allowed"])
    (tmp_path / "tests" / "test_a.py").write_text("")
    complaint = "tests/test_a.py: fits now; remove it from EXCEPTIONS in scripts/sizes"
    assert check(tmp_path, "{'tests/test_a.py': 360}") == (1, [complaint])
