"""Trainings that fail: one line, and nothing lost that was saved."""

import errno
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import pytest
import torch

from pnasnet.errors import DivergedError, InputError, OutOfMemoryError, OutputError
from pnasnet.training.callbacks import WholeFiles
from pnasnet.training.fit import FitResult, _run, fit
from pnasnet.training.folder import newest
from pnasnet.training.recipe import Cosine
from pnasnet.training.task import initial_network

from tests.helpers.disks import small_disk_at
from tests.helpers.train_data import MACHINE, RECIPE, training_pictures, validation_pictures
from tests.helpers.training_runs import assert_same, run, stop_after, weights


@dataclass(frozen=True)
class LastStep:
    """A schedule that learns nothing but in the very last step."""

    rate: float

    def __call__(self, share: float, epoch: float) -> float:
        return self.rate if share == 7 / 8 else 0.0  # the last of eight


def test_a_loss_that_diverges_ends_the_run_before_it_is_saved(tmp_path: Path) -> None:
    recipe = replace(RECIPE, schedule=Cosine(1e30), clip_norm=None)
    with pytest.raises(DivergedError, match=r"the loss became (nan|inf) in step \d+: lower the learning rate"):
        run(tmp_path, recipe)
    assert newest(tmp_path) is None


def test_a_loss_that_diverges_between_two_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU."""
    monkeypatch.setattr("pnasnet.training.task.ClassifierTask._check", lambda task, loss: None)
    with pytest.raises(DivergedError, match="the loss became nan in epoch 1: lower the learning rate"):
        run(tmp_path, replace(RECIPE, schedule=Cosine(1e30), clip_norm=None))
    assert newest(tmp_path) is None


def test_an_update_that_diverges_in_the_last_step_is_not_saved(tmp_path: Path) -> None:
    """No loss tells of it; without images to validate only the weights do."""
    recipe = replace(RECIPE, stages=((16, 1),))
    network = initial_network(recipe)

    def explode() -> None:
        network.get_parameter("final_layer.FC.weight").data.fill_(float("inf"))

    with pytest.raises(DivergedError, match="the weights became infinite in epoch 1: lower the learning rate"):
        fit(recipe, network, training_pictures(), None, tmp_path, MACHINE, progress=stop_after(8, explode))
    assert newest(tmp_path) is None


def test_averages_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    """Finite weights may give answers that are not."""
    recipe = replace(RECIPE, stages=((16, 1),), schedule=LastStep(1e30), clip_norm=None)
    with pytest.raises(DivergedError, match=r"the validation loss became (nan|inf) in epoch 1: lower"):
        run(tmp_path, recipe, validation=validation_pictures(), patience=1)
    assert newest(tmp_path) is None


def test_temporary_files_of_killed_runs_are_removed(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    left = [tmp_path / "checkpoints" / f".0a1b2c3d.{name}.ckpt" for name in ("newest-epoch=0", "best")]
    of_others = tmp_path / "checkpoints" / ".my.notes.ckpt"
    for path in (*left, of_others):
        path.write_bytes(b"half")
    run(tmp_path, replace(RECIPE, stages=((16, 1),)))
    assert not any(path.exists() for path in left)
    assert of_others.exists()


def test_a_full_disk_keeps_the_previous_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: FitResult
) -> None:
    save = torch.save

    def full(value: Any, file: BinaryIO) -> None:
        if value["epoch"] == 1:
            file.write(b"some of it")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(value, file)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OutputError) as caught:
        run(tmp_path, validation=validation_pictures())
    monkeypatch.undo()
    path = tmp_path / "checkpoints/newest-epoch=1.ckpt"
    assert str(caught.value) == (
        f"cannot write {path}: No space left on device; free some space, or choose another folder"
    )
    assert [p.name for p in path.parent.iterdir()] == ["newest-epoch=0.ckpt"]
    resumed = run(tmp_path, validation=validation_pictures())
    assert_same(weights(resumed), weights(undisturbed))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk_at(tmp_path / "disk", "300k") as disk:
        yield disk


def test_a_disk_that_is_really_full(small_disk: Path) -> None:
    (small_disk / "filler").write_bytes(bytes(250_000))
    with pytest.raises(OutputError, match=r"newest-epoch=0\.ckpt: No space left on device; free some space"):
        run(small_disk)
    assert list((small_disk / "checkpoints").iterdir()) == []


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), "the GPU's memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "the memory"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"), "the memory"),
        (MemoryError("Unable to allocate 1.0 TiB for an array"), "the memory"),
    ],
)
def test_a_step_that_does_not_fit_the_memory(tmp_path: Path, error: Exception, memory: str) -> None:
    def fail() -> None:
        raise error

    recipe = replace(RECIPE, stages=((8, 1),))
    network = initial_network(recipe)
    with pytest.raises(OutOfMemoryError) as caught:
        fit(recipe, network, training_pictures(), None, tmp_path, MACHINE, progress=stop_after(2, fail))
    assert str(caught.value) == (
        f"a batch of 8 does not fit {memory}: use more parts (--parts), recompute cells (--checkpoint-cells), or use a "
        "smaller batch"
    )


def test_a_process_that_decodes_and_dies(tmp_path: Path) -> None:
    """In torch's words; the kernel kills the largest process if memory runs out."""

    def fail() -> None:
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")

    recipe = replace(RECIPE, stages=((8, 1),))
    network = initial_network(recipe)
    with pytest.raises(OutOfMemoryError, match=r"a process that decodes images has died, .*: use fewer \(--workers\)"):
        fit(recipe, network, training_pictures(), None, tmp_path, MACHINE, progress=stop_after(2, fail))


def test_other_errors_are_not_about_memory(tmp_path: Path) -> None:
    def fail() -> None:
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match=r"^something else$"):
        fit(RECIPE, initial_network(RECIPE), training_pictures(), None, tmp_path, MACHINE, progress=stop_after(2, fail))


def test_missing_devices(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(InputError, match="choose other devices") as caught:
        run(tmp_path, machine=replace(MACHINE, accelerator="gpu"))
    assert "\n" not in str(caught.value)


def test_a_checkpoint_is_written_below_folders_that_do_not_exist(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.ckpt"
    for step in (1, 2):  # the folders exist the second time
        WholeFiles().save_checkpoint({"step": step}, path)
        assert torch.load(path) == {"step": step}
    with pytest.raises(OutputError):
        WholeFiles().save_checkpoint({}, path / "d.ckpt")


@pytest.mark.parametrize("ignored", [True, False])
@pytest.mark.parametrize(("code", "expected"), [(None, 128 + signal.SIGTERM), (3, 3)])
def test_a_stop_leaves_the_handler_of_the_caller(ignored: bool, code: int | None, expected: int) -> None:
    """After the first Ctrl-C Lightning ignores all others; a handler that it has not replaced stays."""
    before = signal.getsignal(signal.SIGINT)
    during = signal.SIG_IGN if ignored else signal.default_int_handler

    def stopped(*arguments: Any, **options: Any) -> None:
        signal.signal(signal.SIGINT, during)
        raise SystemExit(code)

    def own(*arguments: Any) -> None:
        """Stands for the handler of a program that trains."""

    told: list[str] = []
    trainer: Any = SimpleNamespace(fit=stopped, is_global_zero=True)
    reports: Any = SimpleNamespace(again=lambda: told.append("again"))
    try:
        signal.signal(signal.SIGINT, own)
        with pytest.raises(SystemExit) as stop:
            _run(trainer, None, None, None, reports)  # type: ignore[arg-type]
        assert (stop.value.code, told) == (expected, ["again"])
        assert signal.getsignal(signal.SIGINT) is (own if ignored else during)
    finally:
        signal.signal(signal.SIGINT, before)
