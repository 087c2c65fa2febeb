"""The model card and the figures for programs."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from pnasnet.errors import OutputError
from pnasnet.finetune.card import metrics, write_card
from pnasnet.finetune.outcome import Outcome
from pnasnet.support.text import duration

from tests.helpers.finetune_outcomes import HISTORY, mistake, outcome


def card(folder: Path, result: Outcome) -> str:
    """Return the card as written."""
    write_card(folder / "README.md", result)
    assert [path.name for path in folder.iterdir()] == ["README.md"]
    return (folder / "README.md").read_text("utf-8")


def test_header(tmp_path: Path) -> None:
    assert card(tmp_path, outcome()).startswith(
        "---\ntags:\n- image-classification\n- pnasnet\npipeline_tag: image-classification\nlibrary_name: pnasnet\n"
        'base_model: "pnasnet_tiny"\n---\n\n# Classifier of 3 classes\n'
    )


@pytest.mark.parametrize(
    ("base", "weights", "line"),
    [
        ("pnasnet_large", "timm/pnasnet5large.tf_in1k", 'base_model: "timm/pnasnet5large.tf_in1k"'),
        ("pnasnet_large", "pnasnet-5_large_2017_12_13", 'base_model: "pnasnet_large"'),
        ('my: "net"\n---', "x", r'base_model: "my: \"net\"\\n---"'),
    ],
)
def test_base_model(tmp_path: Path, base: str, weights: str, line: str) -> None:
    header = card(tmp_path, outcome(base=base, base_weights=weights)).split("\n---\n")[0]
    assert header.splitlines()[-1] == line


def test_what_it_says(tmp_path: Path) -> None:
    text = card(tmp_path, outcome(notes=["the classifier was replaced"], skipped=["a.jpg: damaged"], history=HISTORY))
    for expected in (
        "pnasnet_tiny, fine-tuned on pets/. It takes pictures of 32 x 48 pixels, preprocessed as `hub`",
        "\nClasses: cat, dog, owl.\n",
        "\n| measured on 20 test pictures | value | 95 % interval |\n|---|---|---|\n"
        "| top-1 | 85.00 % (17 of 20) | 63.96 to 94.76 % |\n| mean recall of the classes | 85.00 % |  |\n"
        "| top-1 of the classifier on fixed features | 80.00 % |  |\n"
        "| top-1 of always naming the most frequent class | 50.00 % |  |\n\n",
        "The test pictures took no part in training, nor in any choice.",
        "\n| cat | 10 | 80.0 % | 49.0 to 94.3 % | 88.9 % |\n| dog | 10 | 90.0 % | 59.6 to 98.2 % | 81.8 % |\n",
        "| owl | 0 | – | – | – |\n",  # noqa: RUF001
        "```sh\npnasnet finetune pets/ -o model\n```",
        "Pictures: 6 training, 6 validation, 20 test.",
        "of 3 strengths of the L2 term that were tried, 0.01 had the lowest loss on the validation pictures, 0.4500, "
        "with top-1 90.00 %.",
        "trained for 3 epochs; the validation loss was lowest, 0.2500, in epoch 3.",
        "\n- Note: the classifier was replaced\n- 1 picture could not be read and took no part.\n",
        "| seed | 7 |\n| layer decay | 0.8 |\n",
        "| features | 12.3 s |\n| classifier | 3 min 05 s |\n",
        "pnasnet classify photo.jpg --model DIR\n",
        'pnasnet.Module("DIR")',
        "of other cameras, places or kinds of pictures they say nothing",
    ):
        assert expected in text
    assert "license" not in text


def test_without_training_the_network(tmp_path: Path) -> None:
    text = card(tmp_path, outcome(settings={}, seconds={}))
    assert not re.search("whole network|on fixed features|Note|could not be read|setting|stage", text)


def test_validation_pictures_are_called_so(tmp_path: Path) -> None:
    text = card(tmp_path, outcome(test_part="validation"))
    assert "measured on 20 validation pictures" in text
    assert "There were no test pictures." in text
    assert "took no part in training" not in text


def test_names_are_only_names(tmp_path: Path) -> None:
    names = ("<script>a|b</script>", "[x](http://y)", "`*a* _b_ c_d`\n# e", "R&amp;D $1$", "~~f~~\\", "\udcff", "ورد")
    text = card(
        tmp_path, outcome(names, np.eye(7, dtype=int).tolist(), command="a ``` b", notes=["| n |"], base="__b__")
    )
    assert text.count(r"\<script\>a\|b\</script\>") == 2  # once in a sentence, once in the table
    assert text.count(r"\[x\](http://y)") == 2
    assert text.count(r"\`\*a\* \_b\_ c_d\`\\n# e") == 2
    assert text.count(r"R\&amp;D \$1\$") == 2
    assert text.count(r"\~\~f\~\~\\") == 2
    assert text.count(r"\\udcff") == 2
    assert text.count("ورد") == 2
    assert r"- Note: \| n \|" in text
    assert r"\_\_b\_\_" in text
    assert "````sh\na ``` b\n````\n" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {3, 4, 6}


def test_many_classes(tmp_path: Path) -> None:
    count = 120
    confusion = np.diag(np.full(count, 2))
    confusion[77, 3] = 1
    text = card(tmp_path, outcome([f"kind {i}" for i in range(count)], confusion.tolist()))
    assert "kind 98, kind 99 and 20 more, all of them in metrics.json.\n" in text
    assert "The 50 classes with the lowest recall; all are in metrics.json:" in text
    rows = [line for line in text.splitlines() if line.startswith("| kind ")]
    assert len(rows) == 50
    assert rows[0].startswith("| kind 77 | 3 | 66.7 % |")
    assert "| top-5 | " in text


def test_the_card_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"^cannot write .*README\.md: No such file or directory$"):
        write_card(tmp_path / "missing" / "README.md", outcome())


def test_durations() -> None:
    times = [0.04, 59.9, 59.96, 61, 3599.4, 3599.6, 7533]
    assert list(map(duration, times)) == [
        "0.0 s", "59.9 s", "1 min 00 s", "1 min 01 s", "59 min 59 s", "1 h 00 min", "2 h 05 min"
    ]  # fmt: skip


def test_metrics() -> None:
    told = metrics(outcome(history=HISTORY, mistakes=[mistake()], skipped=["a.jpg: damaged"], notes=["a note"]))
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert told["top1"]["value"] == 0.85
    assert (told["top1"]["hits"], told["top1"]["count"]) == (17, 20)
    assert told["top1"]["interval95"] == pytest.approx([0.6396, 0.9476], abs=1e-4)
    assert told["top5"] is None
    assert told["balanced_accuracy"] == pytest.approx(0.85)
    assert told["images"] == {"training": 6, "validation": 6, "test": 20}
    assert [each["recall"]["value"] for each in told["per_class"]] == [0.8, 0.9, None]
    assert told["per_class"][1]["precision"]["hits"] == 9
    assert told["per_class"][2]["images"] == {"training": 3, "validation": 2, "test": 0}
    assert told["confusions"] == [
        {"true": "cat", "predicted": "dog", "images": 2}, {"true": "dog", "predicted": "cat", "images": 1}
    ]  # fmt: skip
    assert told["mistakes"] == [{"image": "cat/1.jpg", "true": "cat", "predicted": "dog", "probability": 0.987}]
    assert told["head"]["chosen"] == told["head"]["trials"][1]
    assert told["head"]["trials"][0] == {
        "strength": 1.0, "iterations": 20, "training_loss": 0.9, "validation_loss": 0.95, "validation_top1": 0.8
    }  # fmt: skip
    assert told["history"] == HISTORY
    assert (told["skipped"], told["notes"], told["image_size"]) == (["a.jpg: damaged"], ["a note"], [32, 48])
    assert told["settings"] == {"seed": "7", "layer_decay": "0.8"}
    assert told["seconds"]["features"] == 12.34
    assert told["classes"] == ["cat", "dog", "owl"]


def test_metrics_of_more_than_five_classes_have_top5() -> None:
    told = metrics(outcome([f"class {i}" for i in range(6)], np.eye(6, dtype=int).tolist()))
    assert told["top5"]["hits"] == 6


def test_metrics_have_no_numbers_that_json_lacks() -> None:
    history = [{"epoch": 0.0, "loss": 1.0, "validation_loss": float("inf"), "validation_top1": float("nan")}]
    told = metrics(outcome(history=history, head_top1=float("nan")))
    assert told["history"] == [{"epoch": 0.0, "loss": 1.0, "validation_loss": None, "validation_top1": None}]
    assert told["head_top1"] is None
