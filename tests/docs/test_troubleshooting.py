"""docs/troubleshooting.md: each message that it explains is one that the package prints."""

import ast
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pnasnet import Module

from tests.helpers.cli_runs import PHOTOS, error_of, run

ROOT = Path(__file__).parents[2]
TERMS = [
    term
    for heading in re.findall(r"^(`.+)\n: ", (ROOT / "docs/troubleshooting.md").read_text("utf-8"), re.MULTILINE)
    for term in re.findall(r"`([^`]+)`", heading)
]
OF_OTHERS = ("No matching distribution", "pip install", "killed")
"""Messages of pip and of the system."""


def texts() -> str:
    """Return the constant text of all strings in the source; what is filled in is a space."""
    found = []
    for path in sorted(ROOT.glob("src/pnasnet/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (str(part.value) if isinstance(part, ast.Constant) else " " for part in node.values)
                found.append("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "UnknownNameError.of":
                found.append(f"unknown {getattr(node.args[0], 'value', '')}")
    return "\n".join(found)


@pytest.fixture(scope="module")
def source() -> str:
    return re.sub(r" +", " ", texts())


@pytest.mark.parametrize("term", [term for term in TERMS if not term.startswith(OF_OTHERS)])
def test_a_message_is_one_of_the_package(term: str, source: str) -> None:
    for words in parts(term):
        assert words in source, words


def test_there_are_messages() -> None:
    assert len(TERMS) > 50


TINY = ("--model", "pnasnet_tiny")
MISTAKES = (
    "classify missing.jpg",
    "classify photos --model pnasnet_smal",
    "classify photos --model pnasnet_large",
    "classify photos --model pnasnet_cifar",
    "classify photos --model note.txt",
    "classify photos --model empty",
    "classify photos --model short.safetensors",
    "classify photos --model changed.safetensors",
    "classify photos --model pnasnet_mobile --weights whole.safetensors",
    "embed photos -o features",
    "embed photos -o features.parquet",
    "embed photos -o new --resume",
    "embed photos -o missing/features.parquet",
    "embed photos -o other",
    "embed empty -o none.parquet",
    "embed https://127.0.0.1:9/a.jpg -o none.parquet",
    "similar photos/coffee.jpg empty",
    "similar photos/coffee.jpg text.parquet",
    "similar photos/coffee.jpg two.parquet",
    "similar photos/coffee.jpg any.parquet",
    "similar photos/coffee.jpg features.parquet --approximate",
    "similar photos/coffee.jpg indexed.parquet",
    "explore features.parquet --port PORT",
    "serve pnasnet_tiny --no-grpc --port PORT",
    "serve pnasnet_tiny --no-grpc --port PORT --features features.parquet",
    "finetune classes -o model --model pnasnet_tiny",
    "finetune photos -o model --model pnasnet_tiny",
    "finetune one -o model --model pnasnet_tiny",
    "quantize pnasnet_tiny photos -o int8",
    "train cifar1 classes -o trained",
    "train cifar10 classes -o trained",
    "search run two_cores one -o search",
)
"""Commands that fail for a reason that users meet."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder in which the mistakes are made."""
    place = tmp_path_factory.mktemp("mistakes")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("PNASNET_OFFLINE", "1")
        patch.setenv("PNASNET_CACHE", str(place / "cache"))
        shutil.copytree(PHOTOS, "photos")
        for name in ("coffee", "chelsea"):
            Path("classes", name).mkdir(parents=True)
            shutil.copy(PHOTOS / f"{name}.jpg", Path("classes", name))
        shutil.copytree(PHOTOS, "one/class")
        Path("empty").mkdir()
        Path("other").mkdir()
        for note in ("note.txt", "other/note.txt"):
            Path(note).write_text("a note")
        Module("pnasnet_tiny").export("whole.safetensors")
        content = bytearray(Path("whole.safetensors").read_bytes())
        Path("short.safetensors").write_bytes(content[:100])
        content[-100] ^= 255
        Path("changed.safetensors").write_bytes(content)
        vectors = [[1.0, 0.0], [0.0, 1.0]]
        pq.write_table(pa.table({"path": ["a", "b"]}), "text.parquet")
        pq.write_table(pa.table({"path": ["a", "b"], "one": vectors}), "any.parquet")
        pq.write_table(pa.table({"path": ["a", "b"], "one": vectors, "two": vectors}), "two.parquet")
        for name in ("features", "indexed.parquet"):
            assert run("embed", "photos", "-o", name, *TINY).exit_code == 0
        assert run("embed", "photos", "-o", "features.parquet", "--preset", "slim", *TINY).exit_code == 0
        assert run("similar", "--index", "indexed.parquet").exit_code == 0
        Path("indexed.parquet.index/index.json").write_text("")
        yield place


@pytest.mark.parametrize("command", MISTAKES)
def test_an_error_that_users_meet_is_explained(command: str, folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        words = command.replace("PORT", str(taken.getsockname()[1])).split()
        result = run(*words)
    error = error_of(result, result.exit_code)
    assert [term for term in TERMS if all(part in error for part in parts(term))], error


def parts(term: str) -> list[str]:
    """Return the words of a quoted message, without what is filled in."""
    return [part.strip() for part in re.split(r"\.\.\.|, |features/", term) if part.strip()]
