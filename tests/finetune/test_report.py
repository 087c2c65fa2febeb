"""The report: its figures, its images, and escaping of names."""

import base64
import io
import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pnasnet.errors import MissingExtraError, OutputError
from pnasnet.finetune.head import Head
from pnasnet.finetune.report import MATRIX_CLASSES, _reliability, check_packages, write_report
from pnasnet.finetune.result import FinetuneResult

from tests.helpers.finetune_results import CONFUSION, HISTORY, TRIALS, jpeg, mistake, result
from tests.helpers.html_page import Page

NAMES = ("<script>alert(1)</script>", "R&D &amp;", "a\"b' onload=x", "ورد الجوري", "x" * 200, "$a_b^{c", "{{ 7 * 7 }}")
"""Class names that would break a page, a chart or a template that is careless."""


Report = Callable[..., Page]
READ = [jpeg()].__getitem__


@pytest.fixture
def report(tmp_path: Path) -> Report:
    """Return a function that writes a report and reads it."""

    def write(shown: FinetuneResult, *pictures: Any) -> Page:
        write_report(tmp_path / "report.html", shown, (pictures or [jpeg()] * 9).__getitem__)
        assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
        return Page((tmp_path / "report.html").read_text("utf-8"))

    return write


def test_figures(report: Report) -> None:
    page = report(result(notes=["the classifier was replaced"], skipped=["a.jpg: damaged", "b.jpg: empty"]))
    title = "Top-1 85.00 % (95 % interval 63.96 to 94.76 %) on 20 test images"
    assert page.text.count(title) == 2  # in the window's title and in the heading
    assert page.tables["figures"] == [
        ["Measured on 20 test images", "Value", "95 % interval"],
        ["top-1", "85.00 % (17 of 20)", "63.96 to 94.76 %"],
        ["mean recall of the classes", "85.00 %", ""],
        ["top-1 of always predicting the most frequent class", "50.00 %", ""],
    ]
    facts = dict(page.tables["table 2"])
    assert facts["Base model"] == "pnasnet_tiny"
    assert facts["Base weights"] == "the-weights"
    assert facts["Image size"] == "32 x 48 pixels"
    assert facts["Preprocessing"] == "hub"
    assert facts["Images"] == "6 training, 6 validation, 20 test"
    assert facts["Time"] == "features 12.3 s, classifier 3 min 05 s"
    assert facts["Command"] == "pnasnet finetune pets/ -o model"
    assert page.tables["table 3"] == [["seed", "7"], ["layer decay", "0.8"]]
    for text in ("the classifier was replaced", "unreadable: 2 images", "a.jpg: damaged", "b.jpg: empty"):
        assert text in page.text


def test_classes_lowest_recall_first(report: Report) -> None:
    assert report(result()).tables["per-class"] == [
        ["Class", "Training images", "Test images", "Recall", "95 % interval", "Precision"],
        ["cat", "1", "10", "80.0 %", "49.0 to 94.3 %", "88.9 %"],
        ["dog", "2", "10", "90.0 %", "59.6 to 98.2 %", "81.8 %"],
        ["owl", "3", "0", "–", "–", "–"],  # noqa: RUF001
    ]


def test_confusion_matrix(report: Report) -> None:
    page = report(result())
    assert page.tables["matrix"] == [
        ["", "cat", "dog", "owl"],
        *([name, *map(str, row)] for name, row in zip(("cat", "dog", "owl"), CONFUSION, strict=True)),
    ]
    assert "confusions" not in page.tables
    assert Counter(page.values("style"))["--share: 0.800"] == 1  # 8 of 10 cats


def test_many_classes_have_a_list_of_confusions(report: Report) -> None:
    count = MATRIX_CLASSES + 1
    confusion = np.diag(np.full(count, 3))
    confusion[4, 2], confusion[5, 6] = 1, 2
    page = report(result([f"class {i}" for i in range(count)], confusion.tolist()))
    assert "matrix" not in page.tables
    assert page.tables["confusions"][1:] == [
        ["class 5", "class 6", "2", "40.0 %"],
        ["class 4", "class 2", "1", "25.0 %"],
    ]
    assert "top-5" in [row[0] for row in page.tables["figures"]]
    assert (
        "matrix"
        in report(result([f"class {i}" for i in range(count - 1)], np.eye(count - 1, dtype=int).tolist())).tables
    )


def test_no_confusions(report: Report) -> None:
    count = MATRIX_CLASSES + 1
    page = report(result([f"class {i}" for i in range(count)], np.eye(count, dtype=int).tolist()))
    assert "confusions" not in page.tables
    assert "All images were classified correctly." in page.text


def test_regularization(report: Report) -> None:
    page = report(result())
    assert page.tables["trials"][1:] == [
        ["1", "20", "0.9000", "0.9500", "80.00 %"],
        ["0.01 (chosen)", "40", "0.3000", "0.4500", "90.00 %"],
        ["0.001", "30", "0.1000", "0.5500", "85.00 %"],
    ]
    assert page.tags["svg"] == 3
    assert page.text.count("chosen: 0.01") == 2  # in the legends
    assert "epochs" not in page.tables


def test_learning_curves(report: Report) -> None:
    page = report(result(history=HISTORY))
    assert page.tags["svg"] == 5
    assert page.tables["epochs"][1:] == [
        ["1", "0.8000", "0.5000", "90.00 %"],
        ["2", "0.4000", "–", "–"],  # noqa: RUF001
        ["3", "0.2000", "0.2500", "95.00 %"],
    ]
    assert "trained for 3 epochs. The validation loss was lowest, 0.2500, in epoch 3." in page.text
    assert ["top-1 of the classifier on fixed features", "80.00 %", ""] in page.tables["figures"]


@pytest.mark.parametrize("figure", [{}, {"validation_loss": float("inf"), "validation_top1": float("nan")}])
def test_curves_without_validation(report: Report, figure: dict[str, float]) -> None:
    page = report(result(history=[{"epoch": 0.0, "loss": 1.0} | figure]))
    assert "trained for 1 epoch." in page.text
    assert "was lowest" not in page.text


def test_charts_are_drawn_in_the_colours_of_the_page(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", result(history=HISTORY), READ)
    charts = re.findall(r"<svg.*?</svg>", (tmp_path / "report.html").read_text("utf-8"), re.DOTALL)
    for chart in charts:
        assert re.findall(r"#[0-9a-fA-F]{6}\b", chart) == []
        assert {"var(--ink)", "var(--two)", "var(--line)"} <= set(re.findall(r"var\([^)]*\)", chart))


def test_reliability_and_thresholds(report: Report) -> None:
    """All 20 predictions have a probability of 98.7 %; 17 of them are right."""
    page = report(result())
    assert page.tables["thresholds"] == [
        ["Least probability", "Answered", "Right of these", "95 % interval"],
        *([f"{least} %", "100.0 %", "85.0 %", "64.0 to 94.8 %"] for least in (0, 50, 60, 70, 80, 90, 95)),
        ["99 %", "0.0 %", "–", "–"],  # noqa: RUF001
    ]
    assert "expected calibration error (Guo et al., 2017), is 13.7 %" in page.text
    label = "Share of right predictions against their probability: 85 % right at 99 %."
    assert label in page.values("aria-label")


def test_the_reliability_diagram_has_the_diagonal_and_the_measured_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[str, Any] = {}
    monkeypatch.setattr("pnasnet.finetune.report.draw", lambda chart, label, name: drawn.update({name: chart}))
    _reliability(result().evaluation)
    perfect, measured = drawn["reliability"].lines
    assert perfect.points == [(0.0, 0.0), (1.0, 1.0)]
    (probability, share), *others = measured.points
    assert (probability, share, others) == (pytest.approx(0.987, abs=1e-3), 0.85, [])


def test_mistakes_are_shown(report: Report) -> None:
    page = report(
        result(mistakes=[mistake("cat/1.jpg"), mistake("dog/2.png", 1, true="dog", predicted="cat", probability=0.5)])
    )
    assert page.tags["img"] == 2
    assert page.values("alt") == ["cat/1.jpg", "dog/2.png"]
    for source in page.values("src"):
        picture = Image.open(io.BytesIO(base64.b64decode(source.removeprefix("data:image/jpeg;base64,"))))
        assert (picture.format, picture.size) == ("JPEG", (256, 160))
    for text in ("cat predicted dog with probability 98.7 % cat/1.jpg", "dog predicted cat with probability 50.0 %"):
        assert text in page.text


def test_a_mistake_is_oriented_as_the_model_saw_it(report: Report) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    out = io.BytesIO()
    Image.open(io.BytesIO(jpeg())).save(out, "JPEG", exif=exif)
    (source,) = report(result(mistakes=[mistake()]), out.getvalue()).values("src")
    assert Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))).size == (256, 160)


@pytest.mark.parametrize("picture", [b"", b"nothing", jpeg()[:300], Path("not/there.jpg")])
def test_a_missing_image_is_named(report: Report, picture: Any) -> None:
    page = report(result(mistakes=[mistake("lost.jpg"), mistake("there.jpg", 1)]), picture, jpeg())
    assert page.values("alt") == ["there.jpg"]
    assert "can no longer be decoded cat predicted dog with probability 98.7 % lost.jpg" in page.text


def test_names_are_escaped(report: Report) -> None:
    """Whatever a class or file is called is read as such, in every place, and adds no element."""
    confusion = np.ones((len(NAMES), len(NAMES)), int).tolist()
    plain = report(result([f"class {i}" for i in range(len(NAMES))], confusion, **_called("name")))
    for awkward in NAMES:
        page = report(result(NAMES, confusion, **_called(awkward)))
        assert page.tags == plain.tags
        assert {name for _, name, _ in page.attributes} == {name for _, name, _ in plain.attributes}
        for name in (*NAMES, awkward):
            assert name in page.text
        assert [row[0] for row in page.tables["matrix"][1:]] == list(NAMES)
        assert page.tables["table 2"][0] == ["Base model", awkward]
        assert page.values("alt") == [awkward]


def _called(name: str) -> dict[str, Any]:
    """Return everything else that has a name."""
    return dict.fromkeys(("base", "base_weights", "source", "command"), name) | {
        "mistakes": [mistake(name)],
        "skipped": [name],
        "notes": [name],
        "settings": {name: name},
        "seconds": {name: 1.0},
    }


def test_names_without_meaning_in_html(report: Report) -> None:
    """File names are bytes: control characters and invalid UTF-8 are shown as escapes."""
    page = report(result(("a\nb", "c\x00d", "e\udcfff"), mistakes=[mistake("g\x1b\udc80.jpg")]))
    assert [row[0] for row in page.tables["matrix"][1:]] == [r"a\nb", r"c\x00d", r"e\xfff"]
    assert page.values("alt") == [r"g\x1b\x80.jpg"]


def test_a_long_path_is_shown_by_its_end(report: Report) -> None:
    page = report(result(mistakes=[mistake("folder/" * 40 + "picture.jpg")]))
    assert "folder/picture.jpg" in page.text
    assert "folder/" * 10 not in page.text
    assert page.values("alt") == ["folder/" * 40 + "picture.jpg"]


def test_many_skipped(report: Report) -> None:
    page = report(result(skipped=[f"{i}.jpg: damaged" for i in range(1200)]))
    assert "unreadable: 1,200 images" in page.text
    assert page.text.count("jpg: damaged") == 500
    assert "700 more are in metrics.json." in page.text


def test_nothing_from_outside(report: Report, tmp_path: Path) -> None:
    page = report(result(history=HISTORY, mistakes=[mistake()]))
    assert page.tags["script"] == page.tags["link"] == page.tags["iframe"] == 0
    references = [value for name in ("src", "href", "xlink:href", "srcset", "action") for value in page.values(name)]
    assert references
    assert [value for value in references if not value.startswith(("#", "data:image/jpeg;base64,"))] == []
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    text = (tmp_path / "report.html").read_text("utf-8")
    assert not re.search(r"https?:|@import", text)
    assert set(re.findall(r"url\((.)", text)) <= {"#"}


def test_accessible(report: Report, tmp_path: Path) -> None:
    page = report(result(history=HISTORY, mistakes=[mistake()]))
    identities = page.values("id")
    assert len(identities) == len(set(identities))
    pointed = [v[1:] for v in page.values("href")] + re.findall(r"#([^)]*)", " ".join(page.values("clip-path")))
    assert set(pointed) | set(page.values("aria-labelledby")) <= set(identities)
    assert len(page.values("alt")) == page.tags["img"]
    assert len([name for tag, name, value in page.attributes if tag == "svg" and name == "aria-label" and value]) == 5
    assert len(page.values("scope")) == page.tags["th"]
    assert ("html", "lang", "en") in page.attributes
    assert "prefers-color-scheme: dark" in (tmp_path / "report.html").read_text("utf-8")
    assert "width=device-width, initial-scale=1" in page.values("content")


def test_figures_of_validation_images_are_labelled_as_such(report: Report) -> None:
    page = report(result(part="validation"))
    assert "on 20 validation images" in page.text
    assert "too favourable" in page.text
    assert "Validation images" in page.tables["per-class"][0]
    assert "used neither for training" in report(result()).text


def test_a_single_trial_and_no_images(report: Report) -> None:
    head = Head(np.zeros((4, 2), np.float32), np.zeros(2, np.float32), TRIALS[0], TRIALS[:1])
    page = report(result(("a", "b"), [[0, 0], [0, 0]], head=head, settings={}, seconds={}))
    assert "on 0 test images" in page.text
    assert len(page.tables["trials"]) == 2


def test_the_same_twice(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_report(tmp_path / name, result(history=HISTORY, mistakes=[mistake()]), READ)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_users_style_and_pyplot_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib as mpl

    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # to import it fails
    write_report(tmp_path / "plain", result(), READ)
    with mpl.rc_context({"axes.facecolor": "red", "text.usetex": True, "svg.fonttype": "path"}):
        before = mpl.rcParams.copy()  # which does not look for a backend
        write_report(tmp_path / "styled", result(), READ)
        assert mpl.rcParams.copy() == before
    assert (tmp_path / "plain").read_bytes() == (tmp_path / "styled").read_bytes()


def test_missing_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_packages()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    message = r"the report needs matplotlib, which is not installed: pip install 'pnasnet\[finetune\]'"
    with pytest.raises(MissingExtraError, match=message):
        check_packages()
    with pytest.raises(MissingExtraError, match=message):
        write_report(tmp_path / "report.html", result(), READ)
    assert list(tmp_path.iterdir()) == []


def test_the_report_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OutputError, match=r"^cannot write .*report\.html: Is a directory; .*$"):
        write_report(tmp_path / "report.html", result(), READ)
    with pytest.raises(OutputError, match=r"^cannot write .*: No such file or directory; .*$"):
        write_report(tmp_path / "missing" / "report.html", result(), READ)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
