"""The examples of the reference: every public name and method has one in a docstring or on the page, and they run."""

import doctest
import importlib
import inspect
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import pnasnet
from pnasnet import Module

from tests.helpers.cli_runs import HERE, PHOTOS, run

ROOT = HERE.parent
REFERENCE = (ROOT / "docs/reference/python.md").read_text("utf-8")
WHOLE = re.findall(r"automodule:: (\S+)\n(?!   :no-members:)", REFERENCE)
"""Rooms whose every public name the reference has."""
SINGLE = re.findall(r"auto(?:class|function):: (\S+)", REFERENCE)
ON_THE_PAGE = re.findall(r"^```pycon\n(.*?)^```", REFERENCE, re.DOTALL | re.MULTILINE)
ALIASES = {"pnasnet.images.Source", "pnasnet.engines.Weights"}
"""Types for annotations."""
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL


def found(name: str) -> object:
    """Return what a dotted name stands for."""
    room, _, last = name.rpartition(".")
    return getattr(importlib.import_module(room), last)


def public() -> Iterator[str]:
    """Yield the dotted names of everything public."""
    yield from (f"pnasnet.{name}" for name in pnasnet.__all__)
    yield from SINGLE
    for room in WHOLE:
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
ROOMS = sorted({name.rpartition(".")[0] for name in NAMES})
DOCUMENTED = [
    name for name in (*NAMES, *ROOMS) if examples(importlib.import_module(name) if name in ROOMS else found(name))
]


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
    assert len(NAMES) > 80
    assert len(DOCUMENTED) > 70
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


@pytest.mark.parametrize("name", DOCUMENTED)
def test_an_example_runs(name: str, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = importlib.import_module(name) if name in ROOMS else found(name)
    if name.startswith(("pnasnet.finetune", "pnasnet.sklearn")):
        pytest.importorskip("sklearn")
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
