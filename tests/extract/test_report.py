"""The report of an extraction: what it counts, and that nobody's names become markup."""

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pnasnet import Module
from pnasnet.extract import ExtractOptions, Report, Sources, columns_for, extract_to, list_units
from pnasnet.extract.folder import FeatureFolder
from pnasnet.extract.pipeline import Prepared, Stages
from pnasnet.extract.report import Failures, write_report
from pnasnet.extract.sample import Sample
from pnasnet.pictures import PassedOver, Picture

from tests.helpers.corpus import MODEL, pictures, write_folder
from tests.helpers.extract_runs import run
from tests.helpers.html_page import Page


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the output of an extraction with failures of several kinds."""
    base = tmp_path_factory.mktemp("report")
    files = {**pictures(60), "<b>&.jpg": b"", "empty.jpg": b"", "text.jpg": b"<script>alert(1)</script>"}
    folder, options = write_folder(base / "photos", files), ExtractOptions()
    columns = columns_for([Module(MODEL, engine="fake")], ["global_pool"], options)
    extract_to(base / "out", Sources(lambda: list_units([folder]), [str(folder)]), columns, options)
    return base / "out"


def test_figures(report: Path) -> None:
    said = json.loads((report / "_report.json").read_text())
    assert (said["rows"], said["failed"], said["this_run"]["rows"]) == (63, 3, 63)
    assert [group["count"] for group in said["failures"]] == [2, 1]
    assert said["failures"][0]["kind"] == "empty: copy or download it again, or leave it out"
    assert said["failures"][0]["reasons"] == {"0 bytes": 2}
    assert [Path(example["path"]).name for example in said["failures"][0]["examples"]] == ["<b>&.jpg", "empty.jpg"]
    assert said["this_run"]["bottleneck"] in ("decoding", "engine", "writing")
    assert sum(said["this_run"]["shares"].values()) == pytest.approx(1)
    assert said["settings"]["embedding.preset"] == "hub"
    assert said["engines"] == ["fake engine: mean colours instead of features"]
    seconds, rates = said["this_run"]["stages"], said["this_run"]["images_per_second"]
    assert {name: rates[name] * seconds[name] for name in rates} == pytest.approx(
        {"decoding": 63, "engine": 60, "writing": 63}
    )


def test_page(report: Path) -> None:
    page = (report / "_report.html").read_text()
    assert "<h1>63 rows: 60 vectors, 3 failures</h1>" in page
    assert page.count('<img src="data:image/jpeg;base64,') == 2 * 48  # photos, and what the network saw of them
    assert "&lt;b&gt;&amp;.jpg" in page
    assert "The networks ran on fake engine: mean colours instead of features." in page
    assert len(re.findall(r"[\d,]+\.\d images a second", page)) == 3
    assert "<script" not in page
    assert "<b>&" not in page
    assert "http" not in page.replace("http-equiv", "")  # no requests


def test_shares_refer_to_the_time_of_all_workers(tmp_path: Path) -> None:
    """Ten workers spend more seconds than the run lasts."""
    folder = FeatureFolder(tmp_path)
    done = Report(rows=100, failed=10, seconds=3.0, stages=Stages(40.0, 4.0, 12.0, 4.0, copies=30))
    write_report(folder, {"sources": []}, done, Failures())
    said = json.loads((tmp_path / "_report.json").read_text())["this_run"]
    assert said["shares"] == {"decoding": 0.2, "engine": 0.6, "writing": 0.2}
    assert said["images_per_second"] == {"decoding": 2.5, "engine": 5.0, "writing": 25.0}


def test_engines_of_several_columns_and_runs(tmp_path: Path) -> None:
    photos, options = write_folder(tmp_path / "photos", pictures(3)), ExtractOptions()
    modules = [Module(MODEL, engine="fake"), Module(MODEL, engine="fake")]
    modules[1].engine_for(("global_pool",)).description = "another engine"
    columns = [
        replace(columns_for([module], ["global_pool"], options)[0], name=f"embedding_{number}")
        for number, module in enumerate(modules)
    ]
    extract_to(tmp_path / "out", Sources(lambda: list_units([photos]), [str(photos)]), columns, options)
    said = json.loads((tmp_path / "out/_report.json").read_text())
    assert said["engines"] == ["fake engine: mean colours instead of features", "another engine"]


def test_failures_are_grouped_without_names_and_numbers_and_bounded() -> None:
    failures = Failures()
    for number in range(1, 1001):
        failures.add(f"{number}.jpg", f"{number}.jpg: {number:,} x 7 pixels, too many")
        failures.add("x.jpg", f"x.jpg: kind {chr(0x4E00 + number)}")
    groups = failures.groups()
    assert (failures.count, len(groups)) == (2000, 101)
    assert groups[0]["kind"] == "N x N pixels, too many"
    assert groups[0]["count"] == 1000
    assert len(groups[0]["examples"]) == 5
    assert {group["kind"]: group["count"] for group in groups}["other"] == 1000 - 99


def test_samples_are_uniform() -> None:
    image = np.zeros((8, 8, 3), np.float32)
    chosen = np.zeros(40)
    for seed in range(300):
        sample = Sample(10, seed)
        for number in range(40):
            sample.offer(Picture(str(number), lambda: b""), Prepared((image,), 8, 4))
        assert len(sample.pictures) == 10
        for sampled in sample.pictures:
            chosen[int(sampled.name)] += 1
    assert abs(chosen / 300 - 0.25).max() < 0.12  # 4.8 standard deviations


def test_merged_samples_are_uniform() -> None:
    """As for workers of a cluster with shards of different sizes."""
    image = np.zeros((8, 8, 3), np.float32)
    chosen = np.zeros(40)
    for seed in range(300):
        whole, start = Sample(10, seed), 0
        for count in (12, 1, 1, 1, 1, 24):
            sample = Sample(10, 1000 + seed)
            for number in range(start, start + count):
                sample.offer(Picture(str(number), lambda: b""), Prepared((image,), 8, 4))
            whole.merge(sample)
            start += count
        assert len(whole.pictures) == 10
        for sampled in whole.pictures:
            chosen[int(sampled.name)] += 1
    assert abs(chosen / 300 - 0.25).max() < 0.12  # 4.8 standard deviations


def test_the_photo_is_upright_and_the_input_is_as_the_network_saw_it() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    out = io.BytesIO()
    Image.new("RGB", (1000, 250)).save(out, "JPEG", exif=exif)
    sample = Sample(1)
    prepared = Prepared((np.zeros((32, 32, 3), np.float32),), 1000, 250, unturned=True)
    sample.offer(Picture("a", lambda: b""), prepared, out.getvalue())
    (sampled,) = sample.pictures
    assert sampled.photo
    assert Image.open(io.BytesIO(sampled.photo)).size == (60, 240)
    assert Image.open(io.BytesIO(sampled.seen)).size == (32, 32)
    assert sampled.unturned


@pytest.mark.parametrize(("exif", "unturned"), [(None, ["6.jpg"]), (False, ["6.jpg"]), (True, [])])
def test_photos_whose_orientation_was_not_applied_are_counted(
    tmp_path: Path, exif: bool | None, unturned: list[str]
) -> None:
    (tmp_path / "photos").mkdir()
    for orientation in (None, 1, 6):
        stated = Image.Exif()
        if orientation:
            stated[0x0112] = orientation
        Image.new("RGB", (40, 20)).save(tmp_path / f"photos/{orientation}.jpg", exif=stated)
    done = run(Module(MODEL, engine="fake"), tmp_path / "out", tmp_path / "photos", options=ExtractOptions(exif=exif))
    assert (done.rows, done.unturned) == (3, len(unturned))
    assert [Path(name).name for name in done.unturned_examples] == unturned


def test_a_photo_that_cannot_be_decoded_again_is_left_out() -> None:
    sample = Sample(1)
    sample.offer(Picture("a", lambda: b""), Prepared((np.zeros((8, 8, 3), np.float32),), 8, 8), b"no image")
    assert (sample.pictures[0].photo, bool(sample.pictures[0].seen)) == (None, True)


DAMAGED = "damaged, cut short or of an unsupported kind"


@pytest.mark.parametrize(
    ("path", "error", "kind", "reason"),
    [
        ("a.jpg", f"a.jpg: {DAMAGED} (broken data): copy it again", f"{DAMAGED}: copy it again", "broken data"),
        (
            "b.jpg",
            f"b.jpg: {DAMAGED} (image file is truncated (12 bytes not processed)): copy it again",
            f"{DAMAGED}: copy it again",
            "image file is truncated; N bytes not processed",
        ),
        (
            "c.png",
            f"c.png: {DAMAGED} (cannot identify image file <_io.BytesIO object at 0x7f3a>): copy it again",
            f"{DAMAGED}: copy it again",
            "cannot identify image file <_io.BytesIO object at N>",
        ),
        ("d\n.jpg", "'d\\n.jpg': no such file: check the path", "no such file: check the path", ""),
        ("x.tar/e.jpg", "x.tar/e.jpg: a link to 'f/g.jpg', not in the tar", "a link to …, not in the tar", ""),
        (
            "t.parquet#3",
            "t.parquet#3: the host of https://example.org/a.jpg is not allowed: add --allow-url-host example.org",
            "the host of … is not allowed: add --allow-url-host …",
            "",
        ),
        ("u/1.jpg", "u/1.jpg: 40,000 x 30,000 pixels, more than the limit", "N x N pixels, more than the limit", ""),
        ("g.jp2", "g.jp2: a damaged JPEG 2000 image: copy it again", "a damaged JPEG 2000 image: copy it again", ""),
        ("h.jpg", "h.jpg: 0 bytes after 120 of them", "0 bytes after N of them", ""),
    ],
)  # fmt: skip
def test_the_cause_of_a_failure(path: str, error: str, kind: str, reason: str) -> None:
    failures = Failures()
    failures.add(path, error)
    (group,) = failures.groups()
    assert (group["kind"], "; ".join(group["reasons"])) == (kind, reason)


def test_what_was_passed_over_and_not_turned_is_stated(tmp_path: Path) -> None:
    passed = PassedOver()
    passed.add("notes.txt")
    done = Report(rows=9, unturned=7, unturned_examples=[f"<{number}>.jpg" for number in range(5)], passed_over=passed)
    write_report(FeatureFolder(tmp_path), {"sources": []}, done, Failures())
    text = Page((tmp_path / "_report.html").read_text("utf-8")).text
    assert "skipped 1 file without the suffix of an image format: 1 .txt" in text
    assert "7 images of this run have an EXIF orientation that was not applied" in text
    assert "<4>.jpg 2 more" in text
