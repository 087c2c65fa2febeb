"""Arguments of public functions that are not what their annotations ask for."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pnasnet
from pnasnet.engines import EngineOptions
from pnasnet.errors import InputError
from pnasnet.extract import ModelChoice
from pnasnet.extract.folder import FeatureFolder
from pnasnet.images import is_image_path, read_file
from pnasnet.module import Module
from pnasnet.module.open import open_model
from pnasnet.search.config_file import find_config
from pnasnet.support.arguments import checked, described, fits
from pnasnet.train.recipe_file import open_recipe

ROOMS = (
    *("datasets", "engines", "evaluation", "extract", "finetune"),
    *("pictures", "quantize", "serve", "vectors", "weights"),
)
UNCHECKED = {"wilson", "check_threshold", "check_port", "serve_atlas"}
"""Functions of numbers, which they check themselves."""


def public() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield the public functions, and the methods that open and write files."""
    for room in ("", *ROOMS):
        module = import_module(f"pnasnet.{room}".rstrip("."))
        for name in module.__all__:
            if inspect.isfunction(found := getattr(module, name)) and name not in UNCHECKED:
                yield f"{room}.{name}", found
    for method in (open_model, Module.export, Module.save_pretrained, FeatureFolder.__init__):
        yield method.__qualname__, method
    yield "is_image_path", is_image_path
    yield "read_file", read_file
    yield "find_config", find_config
    yield "open_recipe", open_recipe


def texts(function: Callable[..., Any]) -> list[str]:
    """Return the parameters of a function that are a name or a path."""
    hints = inspect.get_annotations(function)
    return [name for name, hint in hints.items() if name != "return" and fits(hint, "text") and not fits(hint, 3)]


@pytest.mark.parametrize("function", [pytest.param(function, id=name) for name, function in public()])
def test_a_wrong_type_is_one_line_that_names_the_argument(function: Callable[..., Any]) -> None:
    for name in texts(function):
        for wrong in (3, 1.5, b"x", [3], np.zeros((2, 2)), type):
            if fits(function.__annotations__[name], wrong):
                continue  # such as the bytes of an image
            with pytest.raises(InputError, match=f"^{name} must be an? ") as raised:
                function(**{name: wrong})
            assert len(str(raised.value).splitlines()) == 1
            assert len(str(raised.value)) < 200


def test_the_public_functions_of_files_are_checked() -> None:
    assert sum(len(texts(function)) for _, function in public()) > 40


@pytest.mark.parametrize(
    "call",
    [
        lambda: pnasnet.Module(3),  # type: ignore[arg-type]
        lambda: pnasnet.Module("pnasnet_tiny", 1.5),  # type: ignore[arg-type]
        lambda: pnasnet.Module(None),  # type: ignore[arg-type]
        lambda: pnasnet.get_expected_image_size("pnasnet_tiny"),  # type: ignore[arg-type]
        lambda: ModelChoice(3).open(),  # type: ignore[arg-type]
        lambda: pnasnet.Module("pnasnet_tiny", engine="fake").embed(3),  # type: ignore[arg-type]
        lambda: pnasnet.Module("pnasnet_tiny", engine=EngineOptions(3)),  # type: ignore[arg-type]
    ],
)
def test_first_mistakes(call: Callable[[], Any]) -> None:
    with pytest.raises(InputError):
        call()


def test_very_long_names_are_unknown() -> None:
    with pytest.raises(InputError, match=r"^unknown model 'xxx"):
        Module("x" * 5000)


class Thing:
    """What an argument is meant to be."""


@checked
def example(
    path: str | PathLike[str],
    folder: Path | None = None,
    *,
    names: Sequence[str] = (),
    options: EngineOptions | None = None,
    table: Mapping[str, Any] | None = None,
    flag: bool = False,
    free: Any = None,
    sources: Iterable[str | Path] = (),
    things: Iterable[Thing] = (),
    thing: "Thing | None" = None,
    known: "Thing" = Thing(),  # noqa: B008
    content: bytes = b"",
    size: tuple[int, int] = (1, 2),
) -> tuple[Any, ...]:
    """Return some of the arguments."""
    return path, folder, names


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path": 3}, "path must be a string or a path, not 3"),
        ({"path": None}, "path must be a string or a path, not None"),
        ({"path": b"x"}, "path must be a string or a path, not b'x'"),
        ({"path": "x", "folder": 3}, "folder must be a path, not 3"),
        ({"path": "x", "names": "x"}, "names must be a list of strings, not 'x'"),
        ({"path": "x", "names": ["x", 3]}, "names must be a list of strings, not ['x', 3]"),
        ({"path": "x", "names": {"x": 3}}, "names must be a list of strings, not {'x': 3}"),
        ({"path": "x", "names": 3}, "names must be a list of strings, not 3"),
        ({"path": "x", "sources": "x"}, "sources must be a list of strings or paths, not 'x'"),
        ({"path": "x", "sources": ["x", None]}, "sources must be a list of strings or paths, not ['x', None]"),
        ({"path": "x", "things": ["x"]}, "things must be a list of Things, not ['x']"),
        ({"path": "x", "things": 3}, "things must be a list of Things, not 3"),
        ({"path": "x", "known": "x"}, "known must be a Thing, not 'x'"),
        ({"path": "x", "content": "x"}, "content must be bytes, not 'x'"),
        ({"path": "x", "options": "x"}, "options must be an EngineOptions, not 'x'"),
        ({"path": "x", "options": EngineOptions}, "options must be an EngineOptions, not <class "),
        ({"path": "x", "table": [3]}, "table must be a mapping, not [3]"),
        ({"path": "x", "flag": "no"}, "flag must be true or false, not 'no'"),
    ],
)
def test_what_is_wrong_with_what(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as raised:
        example(**arguments)
    assert str(raised.value).startswith(message)


def test_right_arguments_are_passed_on_and_text_becomes_a_path() -> None:
    assert example("x", "y", names=["z"], free=3) == ("x", Path("y"), ["z"])  # type: ignore[arg-type]
    assert example(Path("x"), None, names=iter("z"), flag=np.bool_(True))[:2] == (Path("x"), None)  # type: ignore[arg-type]
    assert example("x", names={"z"}, options=object(), sources=(Path("a"), "b"))[2] == {"z"}  # type: ignore[arg-type]
    assert example("x", things=[Thing()], thing=3, known=object(), content=memoryview(b"x"), size=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="positional"):
        example("x", None, "z")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword"):
        example("x", other=3)  # type: ignore[call-arg]


def test_words() -> None:
    assert described(str | None) == "a string"
    assert described(list[int]) == "a list"
    assert example.__doc__ == "Return some of the arguments."
