"""The front door and the doors of the rooms: what each `__init__.py` exports, and that nothing else is public there."""

import ast
from importlib import import_module
from pathlib import Path

import pytest

import pnasnet

SOURCE = Path(pnasnet.__file__).parent
ROOMS = sorted(".".join(("pnasnet", *file.parent.relative_to(SOURCE).parts)) for file in SOURCE.rglob("__init__.py"))


def public_names(room: str, tree: ast.Module) -> set[str]:
    """Return the names that a room offers: those it imports from its own files, and those it defines."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.level == 1 or (node.module or "").startswith(f"{room}.")):
            names |= {alias.asname or alias.name for alias in node.names}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return {name for name in names if not name.startswith("_") or name == "__version__"}


def isort_key(name: str) -> tuple[int, str]:
    """Order names as ruff does: constants, classes, then the rest."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


@pytest.mark.parametrize("name", ROOMS)
def test_all_is_sorted_and_complete_and_every_name_exists(name: str) -> None:
    room = import_module(name)
    assert room.__file__ is not None
    exported = getattr(room, "__all__", [])
    assert exported == sorted(set(exported), key=isort_key)
    assert public_names(name, ast.parse(Path(room.__file__).read_text(encoding="utf-8"))) - set(exported) == set()
    assert [member for member in exported if getattr(room, member, None) is None] == []
