"""The examples of the reference: every public name and method has one in a docstring or on the page, and they run."""

import contextlib
import doctest
import importlib
import inspect
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import pnasnet
from pnasnet import Module
from pnasnet.errors import MissingExtraError

from tests.helpers.cli_runs import HERE, PHOTOS, run

ROOT = HERE.parent
REFERENCE = (ROOT / "docs/reference/python.md").read_text("utf-8")
WHOLE = re.findall(r"automodule:: (\S+)\n(?!   :no-members:)", REFERENCE)
"""Rooms whose every public name the reference has."""
DOORS = re.findall(r"(?:auto|py:)module:: (\S+)", REFERENCE)
"""All rooms of the reference."""
SINGLE = re.findall(r"auto(?:class|function|data):: (\S+)", REFERENCE)
ON_THE_PAGE = re.findall(r"^```pycon\n(.*?)^```", REFERENCE, re.DOTALL | re.MULTILINE)
ALIASES = {"pnasnet.images.Source", "pnasnet.engines.Weights"}
"""Types for annotations."""
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")), *sorted(ROOT.glob("docs/**/*.ipynb"))]
EXTRAS = {"pnasnet.finetune": "sklearn", "pnasnet.sklearn": "sklearn", "pnasnet.quantize": "nncf"}
EXTRAS |= {"pnasnet.train": "pytorch_lightning"}
"""What the examples of a room need, besides what its import does."""
os.environ.setdefault("KERAS_BACKEND", "torch")
with contextlib.suppress(ImportError, pytest.skip.Exception):  # without torch; without timm
    importlib.import_module("tests.helpers.timm_import").import_timm()


def found(name: str) -> object:
    """Return what a dotted name stands for."""
    room, _, last = name.rpartition(".")
    return getattr(importlib.import_module(room), last)


def can_be_imported(room: str) -> bool:
    """Return whether the extra of a room is installed."""
    try:
        importlib.import_module(room)
    except MissingExtraError:
        return False
    return True


def public() -> Iterator[str]:
    """Yield the dotted names of everything public whose extra is installed."""
    yield from (f"pnasnet.{name}" for name in pnasnet.__all__)
    yield from (name for name in SINGLE if can_be_imported(name.rpartition(".")[0]))
    for room in filter(can_be_imported, WHOLE):
        module = importlib.import_module(room)
        own = (name for name, each in vars(module).items() if inspect.isclass(each) and each.__module__ == room)
        yield from (f"{room}.{name}" for name in getattr(module, "__all__", None) or own)


def examples(named: object) -> list[doctest.Example]:
    """Return the examples of a docstring; of a section `Example:` alone."""
    text = inspect.cleandoc(getattr(named, "__doc__", None) or "")
    return doctest.DocTestParser().get_examples(text.partition("\nExample:\n")[2])


def uses(named: object, last: str) -> bool:
    """Return whether the examples of a docstring contain a name."""
    return any(re.search(rf"\b{last}\b", example.source + example.want) for example in examples(named))


def methods(named: type) -> Iterator[str]:
    """Yield the public methods and properties of a class that the reference shows: those with a docstring."""
    for name, each in vars(named).items():
        if not name.startswith("_") and inspect.isroutine(each) | isinstance(each, property) and each.__doc__:
            yield name


NAMES = sorted(set(public()) - ALIASES)
ROOMS = sorted({name.rpartition(".")[0] for name in NAMES} | set(filter(can_be_imported, DOORS)))
DOCUMENTED = [
    name for name in (*NAMES, *ROOMS) if examples(importlib.import_module(name) if name in ROOMS else found(name))
]


def exported_again() -> set[str]:
    """Return the names in rooms of what the package exports itself, as `pnasnet.weights.open_weights`."""
    return {f"{room}.{name}" for room in DOORS for name in pnasnet.__all__ if f"pnasnet.{name}" in SINGLE}


@pytest.mark.parametrize("room", DOORS)
def test_the_reference_has_every_name_that_a_room_exports(room: str) -> None:
    if not can_be_imported(room):
        pytest.skip(f"the extra of {room} is not installed")
    exported = getattr(importlib.import_module(room), "__all__", [])
    described = {*SINGLE, *WHOLE, *exported_again()}
    described |= set(re.findall(r"`(pnasnet\.\w+)`", REFERENCE))  # values, which text describes
    described |= {f"{room}.{name}" for name in exported if room in WHOLE}
    assert [name for name in exported if f"{room}.{name}" not in described] == ["PnasnetError"] * (room == "pnasnet")


def test_the_reference_has_every_name_that_a_page_imports() -> None:
    described = {*NAMES, *SINGLE, *WHOLE, *DOORS, *exported_again(), *re.findall(r"`(pnasnet[\w.]+)`", REFERENCE)}
    imported = [
        f"{room}.{name}"
        for page in PAGES
        for block in code(page)
        for room, names in re.findall(r"^ *from (pnasnet[\w.]*) import ([\w, ]+)", block, re.MULTILINE)
        for name in re.findall(r"\w+", names)
    ]
    assert len(imported) > 15
    assert sorted({name for name in imported if name not in described}) == []


def code(page: Path) -> list[str]:
    """Return the code of a page or a notebook in Python."""
    text = page.read_text("utf-8")
    if page.suffix == ".ipynb":
        return ["".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_has_an_example(name: str) -> None:
    room, _, last = name.rpartition(".")
    named = found(name)
    if isinstance(named, ModuleType):
        assert examples(named), name
    elif not (inspect.isclass(named) or inspect.isfunction(named)) or not examples(named):
        home = getattr(named, "__module__", room).rpartition(".")[0]  # pnasnet.write_weights is that of pnasnet.weights
        assert any(uses(importlib.import_module(each), last) for each in {room, home} if each), name
    else:
        assert uses(named, last) or inspect.isclass(named), name


@pytest.mark.parametrize("name", [name for name in NAMES if inspect.isclass(found(name))])
def test_every_public_method_has_an_example(name: str) -> None:
    named, room = found(name), importlib.import_module(name.rpartition(".")[0])
    assert inspect.isclass(named)
    shown = [each for each in ON_THE_PAGE if re.search(rf"\b{named.__name__}\(", each)]
    missing = [
        method
        for method in methods(named)
        if not examples(getattr(named, method)) and not uses(named, method) and not uses(room, method)
        and not any(re.search(rf"\.{method}\b", each) for each in shown)
    ]  # fmt: skip
    assert missing == []


def test_there_are_examples() -> None:
    assert len(NAMES) > 110
    assert len(DOCUMENTED) > 90
    assert {"pnasnet.images", "pnasnet.engines", "pnasnet.datasets", "pnasnet.finetune", "pnasnet.errors"} <= set(WHOLE)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the examples name; docs/reference/python.md lists them."""
    folder = tmp_path_factory.mktemp("examples")
    shutil.copytree(PHOTOS, folder / "photos")
    importlib.import_module("examples.unpack").write(folder / "animals", ("bird", "cat", "frog"), 20)
    shutil.copytree(HERE / "checkpoints/tiny_slim", folder / "checkpoint")
    shutil.copytree(HERE / "checkpoints/tiny_hub_tf1", folder / "hub_module")
    (folder / "damaged.safetensors").write_bytes(bytes(100))
    Module("pnasnet_tiny").export(folder / "model.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("features", "other"):
            done = run("embed", "photos", "--model", "pnasnet_tiny", "-o", f"{name}.parquet")
            assert done.exit_code == 0, done.output
    return folder


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's own
@pytest.mark.parametrize("name", DOCUMENTED)
def test_an_example_runs(name: str, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = importlib.import_module(name) if name in ROOMS else found(name)
    for room, needed in EXTRAS.items():
        if name.startswith(room):
            pytest.importorskip(needed)
    if "approximate" in name:
        pytest.importorskip("faiss")
    monkeypatch.chdir(files)
    check(examples(named), name)


def test_the_examples_on_the_page_run(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.chdir(files)
    assert ON_THE_PAGE
    check(doctest.DocTestParser().get_examples("\n".join(ON_THE_PAGE)), "docs/reference/python.md")


def check(some: list[doctest.Example], name: str) -> None:
    """Run examples, and fail with what differs."""
    test = doctest.DocTest(some, {}, name, None, 0, None)
    complaints: list[str] = []
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    failed = runner.run(test, out=complaints.append, clear_globs=True).failed
    assert not failed, "".join(complaints)
