"""Children as tasks of a Ray cluster: killed workers, timeouts, and clusters without a suitable machine."""

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pnasnet.architecture.cells import CellSpec
from pnasnet.errors import MissingExtraError
from pnasnet.search.evaluator import Patience
from pnasnet.search.journal import Journal
from pnasnet.search.ray_evaluator import RayEvaluator

from tests.helpers.cli_runs import HERE
from tests.helpers.search_data import FakeTrainer, child_of
from tests.helpers.waiting import free_port

pytestmark = pytest.mark.usefixtures("only_cluster")

_SEARCH = """if True:
    import sys
    from dataclasses import replace
    from pathlib import Path
    from pnasnet.search.run import Workers, search
    from tests.helpers.search_data import CONFIG, DATA, FakeTrainer
    folder, seen = Path(sys.argv[1]), Path(sys.argv[2])
    strategy = replace(CONFIG.search, algorithms=("evolution",), models=14)
    job = FakeTrainer(seen, die=2, seconds=0.5)
    done = search(replace(CONFIG, search=strategy), job, DATA, folder, Workers(2, "local"))
    print(done.trained, len(done.steps["evolution seed 0"]))
"""


def run(folder: Path, ray_folder: str, script: str = _SEARCH, *arguments: str) -> subprocess.CompletedProcess[str]:
    seen = folder / "seen"
    seen.mkdir()
    environment = {"PYTHONPATH": ":".join([*sys.path, str(HERE.parent)]), "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        [sys.executable, "-c", script, str(folder / "out"), str(seen), *arguments],
        env={**environment, "RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": ray_folder},
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip


@pytest.mark.slow
def test_workers_killed_in_the_middle(tmp_path: Path, ray_folder: str) -> None:
    """The first two children kill their worker. They are retried elsewhere, and the outcome is the same."""
    done = run(tmp_path, ray_folder)
    assert done.stdout == "14 14\n", done.stderr
    with Journal(tmp_path / "out/journal.sqlite", readonly=True) as journal:
        children = journal.children()
    assert {cell: child.accuracy for cell, child in children.items()} == {
        cell: child_of(cell).accuracy for cell in children
    }
    assert sum(child.tries - 1 for child in children.values()) == 2
    assert {child.status for child in children.values()} == {"ok"}
    assert all((child.seconds > 2.3) == (child.tries > 1) for child in children.values())  # of all attempts
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
        RayEvaluator(job, sys.argv[3], None, Patience())
    except InputError as error:
        print(error)
    evaluator = RayEvaluator(job, "local", 1, Patience(timeout=6, retries=0))
    children = [evaluator.train(CellSpec.of([(name, 0, "max3", 1)])) for name in ("sep3", "sep5", "identity")]
    evaluator.close()
    print(*[(child.status, child.error) for child in children], sep="; ")
"""


@pytest.mark.slow
def test_no_cluster_and_a_child_that_exceeds_the_timeout(tmp_path: Path, ray_folder: str) -> None:
    address = f"127.0.0.1:{free_port()}"  # not "auto", which finds the cluster of anybody on this machine
    done = run(tmp_path, ray_folder, _ALONE, address)
    first, second = done.stdout.splitlines() or ("", "")
    assert first.startswith(f"no Ray cluster answers at '{address}' (Connection refused)"), done.stderr
    assert second == "('ok', ''); ('timeout', 'not done within 6 s'); ('ok', '')", done.stderr


def test_without_ray(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"needs ray, which is not installed: .*pnasnet\[ray\]"):
        RayEvaluator(FakeTrainer(tmp_path), "auto", None, Patience())


CELL = CellSpec.of([("sep3", 1, "max3", 0)])


class RayError(Exception):
    pass


class FakeRay:
    """A cluster of one machine, in this process. A task waits for the machine as often as `waits` says."""

    exceptions = SimpleNamespace(RayError=RayError)

    def __init__(self, resources: dict[str, float], waits: int = 0, lost: int = 0) -> None:
        self.resources, self.waits, self.lost = resources, waits, lost
        self.timeouts, self.options = list[float | None](), dict[str, Any]()

    def remote(self, **options: Any) -> Callable[[Any], Any]:
        self.options = options
        return lambda function: SimpleNamespace(remote=function)

    def cluster_resources(self) -> dict[str, float]:
        return self.resources

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": self.resources}, {"Alive": False, "Resources": {"CPU": 9, "GPU": 9}}]

    def wait(self, tasks: list[Any], timeout: float | None) -> tuple[list[Any], list[Any]]:
        self.timeouts.append(timeout)
        self.waits -= 1
        return ([], tasks) if self.waits >= 0 else (tasks, [])

    def get(self, value: Any) -> Any:
        if value is not None and self.lost:
            self.lost -= 1
            raise RayError("a worker died\nand much more")
        return value


@pytest.fixture
def evaluator_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., RayEvaluator]:
    def make(ray: FakeRay, **options: Any) -> RayEvaluator:
        @contextmanager
        def cluster(address: str, purpose: str) -> Iterator[FakeRay]:
            yield ray

        monkeypatch.setattr("pnasnet.search.ray_evaluator.cluster", cluster)
        return RayEvaluator(FakeTrainer(tmp_path), "auto", None, Patience(retries=1), **options)

    return make


def test_seconds_are_those_of_all_attempts(evaluator_on: Callable[..., RayEvaluator]) -> None:
    evaluator = evaluator_on(FakeRay({"CPU": 2}, lost=1))
    assert evaluator.workers == 2
    child = evaluator.train(CELL)
    assert (child.status, child.tries) == ("ok", 2)
    assert 2.0 < child.seconds < 12  # 2.0 is that of the second attempt alone
    evaluator.close()


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ({"CPU": 8, "GPU": 1}, "no machine of the cluster has 1 processor and 2 GPUs for a child: "),
        ({"CPU": 0.5, "GPU": 4}, "no machine of the cluster has 1 processor and 2 GPUs for a child: "),
        ({"CPU": 1, "GPU": 2}, "all machines of the cluster are busy: "),
    ],
)
def test_a_task_that_waits_a_minute_for_a_machine_is_reported_once(
    evaluator_on: Callable[..., RayEvaluator],
    caplog: pytest.LogCaptureFixture,
    resources: dict[str, float],
    message: str,
) -> None:
    caplog.set_level(logging.INFO)
    ray = FakeRay(resources, waits=3)
    evaluator = evaluator_on(ray, gpus=2.0)
    assert ray.options == {"num_cpus": 1, "num_gpus": 2.0, "max_retries": 0}
    assert evaluator.train(CELL).status == "ok"  # once a machine is free
    assert ray.timeouts == [60.0] * 4 + [None]
    (record,) = caplog.records
    assert record.message.startswith(message)
    assert record.levelno == (logging.WARNING if "no machine" in message else logging.INFO)
    evaluator.close()


_WAITING = """if True:
    import logging, sys, threading, time
    from pathlib import Path
    from pnasnet.architecture.cells import CellSpec
    from pnasnet.errors import InputError
    from pnasnet.search import ray_evaluator
    from pnasnet.search.evaluator import Patience
    from tests.helpers.search_data import FakeTrainer
    ray_evaluator._SILENCE = 1.0
    messages = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logging.getLogger("pnasnet").addHandler(handler)
    evaluator = ray_evaluator.RayEvaluator(FakeTrainer(Path(sys.argv[2])), "local", 1, Patience(), gpus=1.0)
    cell = CellSpec.of([("sep3", 0, "max3", 1)])
    def train():
        try:
            evaluator.train(cell)
        except InputError as error:
            messages.append(str(error))
    thread = threading.Thread(target=train)
    thread.start()
    while not messages:
        time.sleep(0.1)
    evaluator.close()
    thread.join()
    print(*messages, sep="; ", flush=True)
"""


@pytest.mark.slow
def test_a_child_that_fits_no_machine_of_a_real_cluster(tmp_path: Path, ray_folder: str) -> None:
    done = run(tmp_path, ray_folder, _WAITING)
    assert done.stdout.startswith("no machine of the cluster has 1 processor and 1 GPUs for a child: "), done.stderr
    assert done.stdout.endswith("; the search was stopped\n")
