"""docs/troubleshooting.md: each message that it explains is one that the package prints."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TERMS = re.findall(r"^`([^`]+)`.*\n: ", (ROOT / "docs/troubleshooting.md").read_text("utf-8"), re.MULTILINE)
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
    return "\n".join(found)


@pytest.fixture(scope="module")
def source() -> str:
    return re.sub(r" +", " ", texts())


@pytest.mark.parametrize("term", [term for term in TERMS if not term.startswith(OF_OTHERS)])
def test_a_message_is_one_of_the_package(term: str, source: str) -> None:
    for fragment in term.split("..."):
        words = fragment.strip(" /").removeprefix("features/").strip()
        assert words in source, words


def test_there_are_messages() -> None:
    assert len(TERMS) > 20
