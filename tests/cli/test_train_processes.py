"""`pnasnet train` in processes of its own: interruptions, several devices, a second run in one folder."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pnasnet import Module
from pnasnet.errors import InputError
from pnasnet.train.run import train
from pnasnet.training.folder import read_history

from tests.helpers.cli_runs import HERE, error_of, run
from tests.helpers.train_data import MACHINE, RECIPE, encoded, write
from tests.helpers.waiting import until

OPTIONS = ("--accelerator", "cpu", "-q")


def use_recipe(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Let every recipe be a tiny one."""
    recipe = replace(RECIPE, **changes)
    monkeypatch.setattr("pnasnet.train.recipe_file.find_recipe", lambda name: recipe)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write(tmp_path / "data/train")
    write(tmp_path / "data/test", 8)
    return tmp_path / "data"


_WAIT = """if True:
    import sys, time
    from pathlib import Path
    from pnasnet.train.run import train
    from tests.helpers.train_data import MACHINE, RECIPE, encoded
    def wait(stage, done, total):
        if stage.startswith("epoch"):
            Path(sys.argv[2]).touch()
            time.sleep(60)
    train(RECIPE, "tiny", encoded(), None, Path(sys.argv[1]), MACHINE, progress=wait)
"""


def test_second_training_in_one_folder_is_refused(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_recipe(monkeypatch)
    out, started = tmp_path / "out", tmp_path / "started"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [HERE.parent, *sys.path]))}
    first = subprocess.Popen([sys.executable, "-c", _WAIT, str(out), str(started)], env=environment)
    try:
        until(lambda: started.exists() or first.poll() is not None, 300)
        assert first.poll() is None
        before = sorted(path.name for path in out.rglob("*"))
        message = error_of(run("train", "tiny", data / "train", "-o", out, *OPTIONS))
        assert message == f"{out} is in use by another run: wait until it ends, or choose another folder"
        assert sorted(path.name for path in out.rglob("*")) == before
    finally:
        first.kill()
        first.wait(60)
    with pytest.raises(InputError, match="a training on other images"):  # not locked any more
        train(RECIPE, "tiny", encoded(8), None, out, MACHINE)


_RUN = """if True:
    import os, sys
    from dataclasses import replace
    import pnasnet.train.recipe_file, pnasnet.training.task as task
    from tests.helpers.train_data import RECIPE
    pnasnet.train.recipe_file.find_recipe = lambda name: replace(RECIPE, stages=((8, 1), (16, 40)))
    step = task.ClassifierTask.training_step
    def counted(self, batch, index):
        if self.global_step == 10:
            os.kill(os.getpid(), int(sys.argv[1]))
        return step(self, batch, index)
    task.ClassifierTask.training_step = counted
    from pnasnet.cli import main
    main(sys.argv[2:])
"""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted(data: Path, tmp_path: Path, number: int, code: int) -> None:
    arguments = ["train", "tiny", str(data / "train"), "-o", str(tmp_path / "out"), *OPTIONS]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [HERE.parent, *sys.path]))}
    command = [sys.executable, "-c", _RUN, str(int(number)), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == code, done.stderr
    assert done.stderr == "error: interrupted; repeat the command to resume after the last complete epoch\n"
    assert [path.name for path in (tmp_path / "out/checkpoints").iterdir()] == ["newest-epoch=1.ckpt"]
    assert not (tmp_path / "out/model.safetensors").exists()


_DEVICES = """if True:
    import os, sys, time
    from dataclasses import replace
    sys.path[:0] = {path!r}.split(":")
    import pnasnet.train.recipe_file, pnasnet.train.run as run
    from tests.helpers.train_data import RECIPE
    recipe = replace(RECIPE, spec=replace(RECIPE.spec, drop_path_keep={keep}))
    pnasnet.train.recipe_file.find_recipe = lambda name: recipe
    write = run.write_weights
    def slowly(*arguments, **options):
        time.sleep({seconds})  # Lightning looks after the other processes every five seconds
        write(*arguments, **options)
    run.write_weights = slowly
    from pnasnet.cli import main
    main(sys.argv[1:])
"""


@pytest.mark.slow
def test_two_processes_share_the_batches(tmp_path: Path) -> None:
    """33 pictures for validation, so that the two have different numbers."""
    data, script = write(tmp_path / "data", 33), tmp_path / "script.py"
    script.write_text(_DEVICES.format(path=str(HERE.parent), seconds=0, keep=0.8))
    command = [sys.executable, str(script), "train", "tiny", str(data), str(data), "-o", str(tmp_path / "out")]
    done = subprocess.run(
        [*command, *OPTIONS, "--devices", "2"], capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("model.safetensors: 3 epochs") == 1
    figures = read_history(tmp_path / "out")
    assert len(figures) == 3
    hits = [33 * each["validation_top1"] for each in figures]
    assert hits == pytest.approx([round(number) for number in hits], abs=1e-4)
    assert done.stderr == ""


@pytest.mark.slow
def test_two_processes_make_the_steps_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one that takes each batch in two parts, since each share is normalized by itself; without random paths."""
    use_recipe(monkeypatch, spec=replace(RECIPE.spec, drop_path_keep=1.0))
    data, script = write(tmp_path / "data", 33), tmp_path / "script.py"
    script.write_text(_DEVICES.format(path=str(HERE.parent), seconds=0, keep=1.0))
    command = [sys.executable, str(script), "train", "tiny", str(data), "-o", str(tmp_path / "two"), *OPTIONS]
    done = subprocess.run([*command, "--devices", "2"], capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    assert run("train", "tiny", data, "-o", tmp_path / "one", *OPTIONS, "--parts", "2").exit_code == 0
    two, one = (Module(tmp_path / name / "model.safetensors").variables for name in ("two", "one"))
    for name, value in one.items():
        if "moving" not in name:
            np.testing.assert_allclose(two[name], value, rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.mark.slow
def test_two_processes_and_an_image_that_cannot_be_read(tmp_path: Path) -> None:
    """The second process ends first, and must not pass for one that failed."""
    data, script = write(tmp_path / "data", 33), tmp_path / "script.py"
    (data / "lying/bad.png").write_text("no")
    script.write_text(_DEVICES.format(path=str(HERE.parent), seconds=11, keep=0.8))
    command = [sys.executable, str(script), "train", "tiny", str(data), "-o", str(tmp_path / "out"), *OPTIONS[:2]]
    done = subprocess.run([*command, "--devices", "2"], capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 3, done.stderr
    assert done.stdout.count("model.safetensors: 3 epochs") == 1
    lines = done.stderr.splitlines()
    assert sorted(lines) == sorted(set(lines))
    assert lines[-1].startswith("1 of 34 images cannot be read")
