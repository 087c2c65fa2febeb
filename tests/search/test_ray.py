"""Children as tasks of a local Ray cluster, one of whose workers is killed in the middle."""

import subprocess
import sys
from pathlib import Path

import pytest

from pnasnet.errors import MissingExtraError
from pnasnet.search.evaluator import Patience
from pnasnet.search.journal import Journal
from pnasnet.search.ray_evaluator import RayEvaluator

from tests.helpers.cli_runs import HERE
from tests.helpers.search_data import FakeTrainer, child_of

pytestmark = pytest.mark.usefixtures("only_cluster")

_SEARCH = """if True:
    import sys
    from dataclasses import replace
    from pathlib import Path
    from pnasnet.search.run import Workers, search
    from tests.helpers.search_data import CONFIG, DATA, FakeTrainer
    folder, seen = Path(sys.argv[1]), Path(sys.argv[2])
    strategy = replace(CONFIG.search, algorithms=("evolution",), models=14)
    job = FakeTrainer(seen, die=2)
    done = search(replace(CONFIG, search=strategy), job, DATA, folder, Workers(2, "local"))
    print(done.trained, len(done.steps["evolution seed 0"]))
"""


def run(folder: Path, ray_folder: str, script: str = _SEARCH) -> subprocess.CompletedProcess[str]:
    seen = folder / "seen"
    seen.mkdir()
    environment = {"PYTHONPATH": ":".join([*sys.path, str(HERE.parent)]), "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        [sys.executable, "-c", script, str(folder / "out"), str(seen)],
        env={**environment, "RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": ray_folder},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_workers_killed_in_the_middle(tmp_path: Path, ray_folder: str) -> None:
    """The first two children kill their worker: they are begun again elsewhere, and the outcome is the same."""
    done = run(tmp_path, ray_folder)
    assert done.stdout == "14 14\n", done.stderr
    with Journal(tmp_path / "out/journal.sqlite", readonly=True) as journal:
        children = journal.children()
    assert {cell: child.accuracy for cell, child in children.items()} == {
        cell: child_of(cell).accuracy for cell in children
    }
    assert sum(child.tries - 1 for child in children.values()) == 2
    assert {child.status for child in children.values()} == {"ok"}
    assert len(list((tmp_path / "seen").iterdir())) == 14 + 2


_ALONE = """if True:
    import sys
    from pathlib import Path
    from pnasnet.architecture.cells import CellSpec
    from pnasnet.errors import InputError
    from pnasnet.search.evaluator import Patience
    from pnasnet.search.ray_evaluator import RayEvaluator
    from tests.helpers.search_data import FakeTrainer
    job = FakeTrainer(Path(sys.argv[2]), hang="sep5")
    try:
        RayEvaluator(job, "auto", None, Patience())
    except InputError as error:
        print(error)
    evaluator = RayEvaluator(job, "local", 1, Patience(timeout=6, retries=0))
    children = [evaluator.train(CellSpec.of([(name, 0, "max3", 1)])) for name in ("sep3", "sep5", "identity")]
    evaluator.close()
    print(*[(child.status, child.error) for child in children], sep="; ")
"""


@pytest.mark.slow
def test_no_cluster_and_a_child_that_takes_too_long(tmp_path: Path, ray_folder: str) -> None:
    done = run(tmp_path, ray_folder, _ALONE)
    first, second = done.stdout.splitlines()
    assert first.startswith("no Ray cluster answers at 'auto' ("), done.stderr
    assert second == "('ok', ''); ('timeout', 'not done within 6 s'); ('ok', '')", done.stderr


def test_without_ray(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"needs ray, which is not installed: .*pnasnet\[ray\]"):
        RayEvaluator(FakeTrainer(tmp_path), "auto", None, Patience())
