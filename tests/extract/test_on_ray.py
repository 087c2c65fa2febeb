"""Extraction on a Ray cluster of this machine: the same rows, also where a worker is killed in the middle."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pnasnet.engines import EngineOptions
from pnasnet.errors import InputError
from pnasnet.extract import ExtractOptions, ModelChoice, Report, Sources, extract_to, list_units
from pnasnet.extract.columns import ColumnBuilder
from pnasnet.extract.on_ray import RayOptions, _room, enter, fill_on_ray
from pnasnet.extract.output import Mode
from pnasnet.extract.run import Fill
from pnasnet.pictures import listing
from pnasnet.support.progress import Progress, silent

from tests.helpers.corpus import MODEL, jpeg, pictures, rows_of, tar, write_folder
from tests.helpers.extract_runs import StopAfter

ray = pytest.importorskip("ray")
psutil = pytest.importorskip("psutil")
pytestmark = [
    pytest.mark.slow,
    # Ray's own: files and sockets that it leaves to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning"),
]

OPTIONS = ExtractOptions(batch_size=3, decoders=1)


@pytest.fixture(scope="module")
def cluster(only_cluster: None) -> Iterator[str]:
    """A cluster of two nodes with a processor each."""
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    nodes.add_node(num_cpus=1)
    ray.init(address=nodes.address, log_to_driver=False)
    yield nodes.address
    ray.shutdown()
    nodes.shutdown()


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sources:
    monkeypatch.setattr(listing, "FILES_IN_UNIT", 20)
    folder = write_folder(tmp_path / "folder", {**pictures(200), "00003.jpg": b"no picture"})
    (tmp_path / "a.tar").write_bytes(tar(pictures(50, 200)))
    names = [str(folder), str(tmp_path / "a.tar")]
    return Sources(lambda: list_units(names), names)


def run(
    output: Path, sources: Sources, address: str | None, progress: Progress = silent, *, mode: Mode | None = None
) -> Report:
    build = ColumnBuilder((ModelChoice(MODEL, engine=EngineOptions("fake")),), ("global_pool",), OPTIONS)
    fill: Fill | None = None
    if address:
        again = mode == "retry-errors"
        fill = partial(fill_on_ray, build=build, ray_options=RayOptions(address, workers=2), retry_errors=again)
    return extract_to(output, sources, build(), OPTIONS, mode=mode, fill=fill, progress=progress)


def workers() -> list[Any]:
    """Return the processes that extract."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if "_ExtractActor" in " ".join(process.cmdline()) and "ray::" in process.cmdline()[0]:
                found.append(process)
    return found


def test_a_cluster_gives_the_same_rows(cluster: str, tmp_path: Path, sources: Sources) -> None:
    shown: list[int] = []
    report = run(tmp_path / "ray", sources, cluster, lambda stage, done, total: shown.append(done))
    assert (report.rows, report.failed, shown[0], shown[-1]) == (250, 1, 0, 250)
    assert report.sample.pictures
    run(tmp_path / "alone", sources, None)
    assert rows_of(tmp_path / "ray") == rows_of(tmp_path / "alone")


def test_a_run_is_started_here_and_finished_on_a_cluster(cluster: str, tmp_path: Path, sources: Sources) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", sources, None, StopAfter(1))
    report = run(tmp_path / "out", sources, cluster)
    assert 0 < report.kept < 250
    assert report.kept + report.rows == 250
    run(tmp_path / "alone", sources, None)
    assert rows_of(tmp_path / "out") == rows_of(tmp_path / "alone")


def test_images_added_on_a_cluster(cluster: str, tmp_path: Path, sources: Sources) -> None:
    for place, address in (("ray", cluster), ("alone", None)):
        run(tmp_path / place, sources, None)
        assert run(tmp_path / place, sources, address, mode="add").rows == 0
    write_folder(tmp_path / "folder", {f"{number:05d}b.jpg": jpeg(number + 500) for number in range(50)})
    for place, address in (("ray", cluster), ("alone", None)):
        report = run(tmp_path / place, sources, address, mode="add")
        assert (report.kept, report.rows) == (250, 50)
    assert rows_of(tmp_path / "ray") == rows_of(tmp_path / "alone")


def test_a_worker_is_killed_in_the_middle(cluster: str, tmp_path: Path, sources: Sources) -> None:
    killed: list[int] = []

    def kill() -> None:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("ray/part-*")) and time.monotonic() < deadline:
            time.sleep(0.005)
        for process in workers()[:1]:
            os.kill(process.pid, signal.SIGKILL)
            killed.append(process.pid)

    thread = threading.Thread(target=kill)
    thread.start()
    run(tmp_path / "ray", sources, cluster)
    thread.join()
    assert killed
    run(tmp_path / "alone", sources, None)
    assert rows_of(tmp_path / "ray") == rows_of(tmp_path / "alone")


def test_failed_rows_are_computed_again_on_a_cluster(cluster: str, tmp_path: Path, sources: Sources) -> None:
    run(tmp_path / "ray", sources, cluster)
    write_folder(tmp_path / "folder", pictures(4))
    report = run(tmp_path / "ray", sources, cluster, mode="retry-errors")
    assert (report.rows, report.kept, report.failed) == (1, 249, 0)
    run(tmp_path / "alone", sources, None)
    assert rows_of(tmp_path / "ray") == rows_of(tmp_path / "alone")


def test_errors_of_workers_keep_their_type(cluster: str, tmp_path: Path, sources: Sources) -> None:
    build = ColumnBuilder((ModelChoice(MODEL, engine=EngineOptions("fake")),), ("global_pool",), OPTIONS)
    broken = ColumnBuilder((ModelChoice("pnasnet_tinny"),), ("global_pool",), OPTIONS)
    fill = partial(fill_on_ray, build=broken, ray_options=RayOptions(cluster, workers=1))
    with pytest.raises(Exception, match="pnasnet_tinny") as caught:
        extract_to(tmp_path / "out", sources, build(), OPTIONS, fill=fill)
    assert "\n" not in str(caught.value)


def test_clusters_without_room(cluster: str, tmp_path: Path, sources: Sources) -> None:
    build = ColumnBuilder((ModelChoice(MODEL, engine=EngineOptions("fake")),), ("global_pool",), OPTIONS)
    fill = partial(fill_on_ray, build=build, ray_options=RayOptions(cluster, cpus=64))
    with pytest.raises(InputError, match=r"no room for a worker of 64 processors"):
        extract_to(tmp_path / "out", sources, build(), OPTIONS, fill=fill)
    with pytest.raises(InputError, match="workers must be at least 1, not 0"):
        RayOptions(workers=0)


@pytest.mark.parametrize(
    ("options", "room"), [({}, 8), ({"cpus": 3}, 2), ({"gpus": 0.5}, 4), ({"gpus": 2}, 1), ({"cpus": 8, "gpus": 1}, 1)]
)
def test_as_many_workers_as_fit(options: dict[str, Any], room: int) -> None:
    assert _room({"CPU": 8.0, "GPU": 2.0}, RayOptions(**options)) == room
    without = {"CPU": 8.0}
    if "gpus" in options:
        with pytest.raises(InputError, match=r"no room for a worker of . processors and [0-9.]+ GPUs"):
            _room(without, RayOptions(**options))
    else:
        assert _room(without, RayOptions(**options)) == room


def test_relative_paths_start_where_the_command_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    enter(str(tmp_path / "there"))
    assert Path.cwd() == tmp_path / "there"
    enter(str(tmp_path / "elsewhere"))  # a folder without files of these names
    assert Path.cwd() == Path("/")
