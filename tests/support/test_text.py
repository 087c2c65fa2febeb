import pytest

from pnasnet.support.text import (
    clean,
    counted,
    differences,
    duration,
    first_of,
    gigabytes,
    percent,
    some_of,
    tail,
)


@pytest.mark.parametrize(
    ("dirty", "cleaned"),
    [
        ("plain/name é 漢.jpg", "plain/name é 漢.jpg"),
        ("\x1b[2Jgone", r"\x1b[2Jgone"),
        ("a\nerror: forged", r"a\nerror: forged"),
        ("gpj\u202eexe.", r"gpj\u202eexe."),
        ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
        ("line\u2028break\x85", r"line\u2028break\x85"),
        ("byte \udcff", r"byte \xff"),
        ("half \ud800", r"half \ud800"),
        (repr("a byte \udce9") + " in a repr", r"'a byte \xe9' in a repr"),
        ("tag \U000e0041", r"tag \U000e0041"),
    ],
)
def test_control_and_hidden_characters_are_escaped(dirty: str, cleaned: str) -> None:
    assert clean(dirty) == cleaned
    assert clean(cleaned) == cleaned


def test_figures_as_text() -> None:
    assert [gigabytes(n) for n in (31_400_000_000, 2_340_000_000, 50_000_000)] == ["31 GB", "2.3 GB", "0.05 GB"]
    assert [counted(n, "class", "classes") for n in (1, 1200)] == ["1 class", "1,200 classes"]
    assert [percent(0.9321), percent(0.5, 0), percent(None)] == ["93.21 %", "50 %", "\N{EN DASH}"]
    assert [duration(s) for s in (12.34, 59.96, 185, 7500)] == ["12.3 s", "1 min 00 s", "3 min 05 s", "2 h 05 min"]


def test_many_and_long_names_are_shortened() -> None:
    assert some_of(["a", "b"]) == "'a', 'b'"
    assert some_of(["a", "b", "c", "d"]) == "'a', 'b', 'c', ..."
    assert tail("x" * 60) == "x" * 60
    assert tail("head/" + "x" * 60) == "…" + "x" * 59


def test_differences_of_nested_values() -> None:
    old = {"a": 1, "b": {"c": None, "d": [1, 2], "gone": {}}, "same": {"x": 1}, "text": "new\nline" + "x" * 90}
    new = {"a": 2, "b": {"c": "yes", "d": [1, 2]}, "same": {"x": 1}, "added": 3}
    found = differences(old, new)
    assert found[:3] == ["a: 1 → 2", "b.c: none → yes", "b.gone: {} → none"]
    assert found[3] == r"text: new\nline" + "x" * 50 + "… → none"
    assert found[4:] == ["added: none → 3"]
    assert differences(None, {"a": 1}) == ["a: none → 1"]
    assert differences(new, new) == []
    assert first_of(found[:3]) == "a: 1 → 2; b.c: none → yes; b.gone: {} → none"
    assert first_of(["a", "b", "c", "d"], 2) == "a; b; and 2 more"
