"""Output of a search: curves, rank correlations, drawings of cells, networks, and the report."""

import functools
import json
import math
import re
import shutil
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pnasnet.architecture.cells import NASNET_A_NORMAL, NASNET_A_REDUCTION, PNASNET5, CellSpec
from pnasnet.architecture.network_file import read_network
from pnasnet.errors import InputError
from pnasnet.reports.charts import Chart, Line, as_file, draw
from pnasnet.search.analysis import (
    Curve,
    best_so_far,
    completed_steps,
    curves,
    place_pnasnet5,
    predicted_and_measured,
    rank_table,
    read_findings,
)
from pnasnet.search.drawing import describe_cell, draw_cell
from pnasnet.search.journal import JOURNAL, Choice, Journal
from pnasnet.search.neural import Fitting, Neural
from pnasnet.search.outputs import write_outputs
from pnasnet.search.report import _line, comparison_file, equal_models, progress_charts, write_comparison
from pnasnet.search.run import identity
from pnasnet.search.session import Budget, Step
from pnasnet.search.space import SearchSpace

from tests.helpers.html_page import Page
from tests.helpers.search_data import CONFIG, DATA, child_of, fill

CELLS = [CellSpec.of([(op, 0, "max3", 1)]) for op in ("sep3", "sep5", "identity")]
OF_PNASNET5 = ("identity", "max3", "sep3", "sep5", "sep7")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    strategy = replace(CONFIG.search, seeds=(0, 1), models=None, beam=10)
    config = replace(CONFIG, space=SearchSpace(OF_PNASNET5, 3), search=strategy)
    return fill(tmp_path_factory.mktemp("search") / "run", config)


def steps_of(accuracies: list[float], seconds: float = 2.0) -> list[Step]:
    return [Step(Choice(CELLS[0], 1), child_of(CELLS[0], accuracy=value, seconds=seconds)) for value in accuracies]


def test_best_so_far() -> None:
    steps = steps_of([0.3, 0.5, 0.4, 0.6])
    assert best_so_far(steps).tolist() == [0.3, 0.5, 0.5, 0.6]
    top = best_so_far(steps, 2)
    assert math.isnan(top[0])
    assert top[1:].tolist() == pytest.approx([0.4, 0.45, 0.55])


def test_steps_end_with_the_budget_or_the_last_result() -> None:
    chosen = [Choice(cell, 1) for cell in CELLS]
    children = {cell.canonical(): child_of(cell) for cell in CELLS}
    assert len(completed_steps(Budget(2), 1, chosen, children)) == 2
    assert len(completed_steps(Budget(9, 2.0), 1, chosen, children)) == 1
    assert len(completed_steps(Budget(9, 2.0), 2, chosen, children)) == 2
    del children[CELLS[1].canonical()]
    assert [step.choice for step in completed_steps(Budget(9), 1, chosen, children)] == chosen[:1]


def test_findings(folder: Path) -> None:
    findings = read_findings(folder)
    assert {name: list(runs) for name, runs in findings.steps.items()} == {
        name: [0, 1] for name in CONFIG.search.algorithms
    }
    count = len(SearchSpace(OF_PNASNET5, 3).one_block()) + 20
    assert all(len(steps) == count for runs in findings.steps.values() for steps in runs.values())
    assert findings.best[0][1].accuracy == max(child.accuracy for child in findings.children.values())
    for curve in curves(findings):
        ends = [best_so_far(steps)[-1] for steps in findings.steps[curve.algorithm].values()]
        assert curve.mean[-1] == pytest.approx(np.mean(ends))
        assert curve.deviation[-1] == pytest.approx(np.std(ends, ddof=1))
    assert [(row[0], row[1], row[2]) for row in equal_models(findings)] == [
        (name, 2, count) for name in CONFIG.search.algorithms
    ]


def test_rank_correlations(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pnasnet.search.analysis.NAMES", ("mlp-ensemble", "linear", "random"))
    findings = read_findings(folder)
    runs = {"progressive": {0: findings.steps["progressive"][0]}}
    table = rank_table(replace(findings, steps=runs))
    assert [(row.predictor, row.level) for row in table][::3] == [("mlp-ensemble", 1), ("mlp-ensemble", 2)]
    by_name = {(row.predictor, row.level): row for row in table}
    assert by_name["mlp-ensemble", 1].fitted > 0.9
    assert abs(by_name["random", 1].fitted) < 0.5
    assert all(-1 <= row.next <= 1 for row in table)
    (two, first), (three, second) = predicted_and_measured(runs["progressive"][0]).items()
    assert (two, len(first), three, len(second)) == (2, 10, 3, 10)


def test_deviations_of_rank_correlations_are_over_the_seeds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pnasnet.search.analysis.NAMES", ("random",))
    findings = read_findings(folder)
    seeds = findings.steps["progressive"]
    both, one, two = (
        rank_table(replace(findings, steps={"progressive": runs}))[0] for runs in (seeds, {0: seeds[0]}, {1: seeds[1]})
    )
    assert both.next == pytest.approx((one.next + two.next) / 2)
    assert both.deviation == pytest.approx(abs(one.next - two.next) / 2**0.5)
    assert both.deviation > one.deviation == two.deviation == 0


def test_only_completed_levels_have_rank_correlations(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a search is running, its last level is incomplete."""
    monkeypatch.setattr("pnasnet.search.analysis.NAMES", ("linear",))
    findings = read_findings(folder)
    steps = findings.steps["progressive"][0]
    one, two, _ = ([step.choice.level for step in steps].count(level) for level in (1, 2, 3))
    for known, levels in ((one, 0), (one + two - 1, 0), (one + two + 1, 1), (len(steps) - 1, 1), (len(steps), 2)):
        table = rank_table(replace(findings, steps={"progressive": {0: steps[:known]}}))
        assert [row.level for row in table] == list(range(1, levels + 1))


def test_levels_of_fewer_than_three_cells_are_ignored(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pnasnet.search.analysis.NAMES", ("linear",))
    findings = read_findings(folder)
    steps = findings.steps["progressive"][0]
    of_two = [number for number, step in enumerate(steps) if step.choice.level == 2][2:]
    lost = [
        replace(step, child=replace(step.child, status="failed")) if number in of_two else step
        for number, step in enumerate(steps)
    ]
    assert rank_table(replace(findings, steps={"progressive": {0: lost}})) == []


def test_pnasnet5s_cell_is_ranked_if_the_space_has_its_operations(folder: Path) -> None:
    findings = read_findings(folder)
    placed = place_pnasnet5(findings, 500)
    assert placed is not None
    assert 0 < placed.score < 1
    assert placed.better > 0.5  # it is large, and has operations that these accuracies favour
    assert (placed.sampled, placed.largest) == (500, 3)
    assert place_pnasnet5(replace(findings, config=CONFIG)) is None  # no sep7
    assert place_pnasnet5(replace(findings, steps={})) is None


def test_outputs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = functools.partial(Neural, fitting=Fitting(epochs=2, least_steps=4))  # their quality is tested elsewhere
    monkeypatch.setattr("pnasnet.search.neural.Neural", quick)
    written = write_outputs(folder)
    assert [path.name for path, _ in written] == ["best.json", *(f"best-{rank}.json" for rank in range(2, 6))]
    findings = read_findings(folder)
    for (path, child), (cell, best) in zip(written, findings.best, strict=False):
        network = read_network(path)
        assert network.spec.cell == cell
        assert (network.spec.num_cells, network.spec.filters, network.spec.num_classes) == (9, 48, 2)
        assert child == best
        assert path.with_suffix(".svg").read_text() == draw_cell(cell)
    page = Page((folder / "report.html").read_text("utf-8"))
    assert f"{len(findings.children)} cells trained, best {100 * findings.best[0][1].accuracy:.2f} %" in page.text
    assert dict(page.tables["facts"])["Trained"] == f"{len(findings.children)} ok"
    assert [row[0] for row in page.tables["compared"][1:]] == list(CONFIG.search.algorithms)
    assert [row[0] for row in page.tables["cost"][1:3]] == ["progressive, seed 0", "progressive, seed 1"]
    ranks = page.tables["ranks"]
    assert len(ranks) == 1 + 6 * 2
    assert ranks[1][-2:] == ["0.970", "0.198"]  # the paper's, of the LSTM
    assert "the predictor expects an accuracy of" in page.text
    assert "% of 10,000 random cells with as many blocks" in page.text
    assert "so this is an extrapolation" in page.text
    identities = page.values("id")
    assert len(identities) == len(set(identities))
    text = (folder / "report.html").read_text("utf-8")
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|@import|<script", text)
    assert all(label for tag, name, label in page.attributes if (tag, name) == ("svg", "aria-label"))


def test_report_of_a_search_without_results(tmp_path: Path) -> None:
    with Journal(tmp_path / JOURNAL) as journal:
        journal.claim(identity(CONFIG, DATA), CONFIG.to_dict())
    assert write_outputs(tmp_path) == []
    assert "No model was trained yet" in (tmp_path / "report.html").read_text("utf-8")


def test_networks_of_a_journal_without_classes_have_no_classifier(tmp_path: Path) -> None:
    """`num_classes` is None, also in the file."""
    config = replace(CONFIG, search=replace(CONFIG.search, models=2, algorithms=("random",)))
    folder = fill(tmp_path / "run", config, data={"pictures": 3})
    (path, _), _ = write_outputs(folder)
    assert json.loads(path.read_text())["spec"]["num_classes"] is None
    assert read_network(path).spec.num_classes is None


def test_comparison(folder: Path) -> None:
    findings = read_findings(folder)
    svg = comparison_file([("run", findings)])
    root = ET.fromstring(svg)
    assert root.tag.endswith("svg")
    assert "var(" not in svg
    for word in (*CONFIG.search.algorithms, "models trained", "best accuracy", "mean of the 5 best"):
        assert word in svg
    both = [("a", findings), ("b", findings)]
    with pytest.raises(InputError, match="6 curves are too many for one chart: choose at most 3"):
        comparison_file(both)
    svg = comparison_file(both, (5,), ("random",))
    assert "a random" in svg
    assert "b random" in svg
    assert "best accuracy" not in svg
    with pytest.raises(InputError, match="fewer than 1 model trained so far"):
        comparison_file([("a", replace(findings, steps={}))])
    with pytest.raises(InputError, match="fewer than 2,000 models trained so far"):
        comparison_file([("a", findings)], (2000,))


def test_names_of_folders(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`.` has the name of its folder, and folders of one name are told apart."""
    copies = [shutil.copytree(folder, tmp_path / parent / "run") for parent in ("one", "two")]
    write_comparison(tmp_path / "two.svg", copies, (1,), ("random",))
    assert all(f">{parent}/run random<" in (tmp_path / "two.svg").read_text() for parent in ("one", "two"))
    with pytest.raises(InputError, match="a folder is named twice"):
        write_comparison(tmp_path / "same.svg", [copies[0], copies[0]])
    monkeypatch.chdir(copies[0])
    write_outputs(Path())
    assert read_network(Path("best.json")).name == "run-1"
    other = shutil.copytree(folder, tmp_path / "other")
    write_comparison(tmp_path / "here.svg", [Path(), other], (1,), ("random",))
    assert ">run random<" in (tmp_path / "here.svg").read_text()


def test_figures_of_few_models_are_never_nan(tmp_path: Path) -> None:
    config = replace(CONFIG, search=replace(CONFIG.search, models=2, algorithms=("random",)))
    write_outputs(fill(tmp_path / "run", config))
    page = (tmp_path / "run/report.html").read_text("utf-8")
    assert "nan" not in page.replace("NaN", "")
    assert [row[1:3] for row in equal_models(read_findings(tmp_path / "run"))] == [(1, 2)]


def test_short_seeds_do_not_shorten_the_curve(folder: Path) -> None:
    findings = read_findings(folder)
    begun = {0: findings.steps["random"][0], 1: findings.steps["random"][1][:3]}
    (curve,) = curves(replace(findings, steps={"random": begun}))
    assert (curve.seeds, len(curve.mean)) == (1, len(begun[0]))


def test_the_charts_text_states_where_each_curve_ends(folder: Path) -> None:
    findings = read_findings(folder)
    for top, svg in zip((1, 5), progress_charts(findings), strict=True):
        label = ET.fromstring(as_file(svg)).attrib["aria-label"]
        ends = {
            name: f"{100 * np.mean([best_so_far(steps, top)[-1] for steps in runs.values()]):.2f}"
            for name, runs in findings.steps.items()
        }
        assert dict(re.findall(r"(\w+) ends at ([\d.]+) %", label)) == ends


def test_the_band_of_a_curve_is_its_deviation() -> None:
    mean, deviation = np.array([math.nan, 0.5, 0.75]), np.array([math.nan, 0.125, 0.25])
    several = _line(Curve("random", 2, mean, deviation))
    assert several.points == [(2, 0.5), (3, 0.75)]
    assert several.band == [(2, 0.375, 0.625), (3, 0.5, 1.0)]
    assert _line(Curve("random", 1, mean, 0 * mean)).band == []


def test_charts_with_bands_and_points() -> None:
    lines = [
        Line("a", [(1, 0.5), (2, 0.6)], "three", "plain", [(1, 0.4, 0.6), (2, 0.5, 0.7)]),
        Line("b", [(1, 0.5), (2, 0.6)], "two", "points"),
    ]
    svg = draw(Chart(lines, "x", shares="both", up="y"), "label", "id")
    assert {"var(--three)", "var(--two)"} <= set(re.findall(r"var\([^)]*\)", svg))
    assert "50 %" in svg
    ET.fromstring(as_file(svg))


@pytest.mark.parametrize("cell", [PNASNET5, NASNET_A_NORMAL, NASNET_A_REDUCTION, *CELLS])
def test_a_drawing_shows_every_operation_within_its_frame(cell: CellSpec) -> None:
    root = ET.fromstring(draw_cell(cell))
    names = {"{http://www.w3.org/2000/svg}" + name: name for name in ("rect", "text", "circle", "path")}
    parts = [(names[part.tag], part) for part in root]
    texts = [part.text for kind, part in parts if kind == "text"]
    assert len(texts) == 2 * len(cell.blocks) + 3
    assert {"concatenate", "cell c\N{MINUS SIGN}1", "cell c\N{MINUS SIGN}2"} <= set(texts)
    assert len([part for kind, part in parts if kind == "circle"]) == len(cell.blocks)
    arrows = [part for _, part in parts if part.get("class") == "cell-arrow"]
    assert len(arrows) == 2 * len(cell.blocks) + len(cell.concat)
    left, top, width, height = map(float, root.attrib["viewBox"].split())
    boxes = [part for _, part in parts if "cell-box" in (part.get("class") or "") and part.get("x")]
    for box in boxes:
        assert left <= float(box.attrib["x"]) <= left + width - float(box.attrib["width"])
        assert top <= float(box.attrib["y"]) <= top + height - float(box.attrib["height"])
    places = [tuple(float(box.attrib[name]) for name in ("x", "y", "width", "height")) for box in boxes]
    for index, (x, y, w, h) in enumerate(places):
        for other_x, other_y, other_w, other_h in places[:index]:
            assert x + w <= other_x or other_x + other_w <= x or y + h <= other_y or other_y + other_h <= y


def test_a_cell_in_words() -> None:
    words = describe_cell(CellSpec.of([("sep3", 1, "conv1x7_7x1", 0), ("identity", 2, "dil3", 0)]))
    assert words == (
        "block 1: sep 3×3 of cell c−2 plus 1×7, 7×1 of cell c−1; "  # noqa: RUF001
        "block 2: identity of block 1 plus dil 3×3 of cell c−1; output: block 2"  # noqa: RUF001
    )
