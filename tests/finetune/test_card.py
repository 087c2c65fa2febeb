"""The model card and the figures for programs."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import ModelCard

from pnasnet.errors import OutputError
from pnasnet.finetune.card import write_card
from pnasnet.finetune.result import FinetuneResult
from pnasnet.support.text import duration

from tests.helpers.finetune_results import HISTORY, evaluation, mistake, result


def card(folder: Path, shown: FinetuneResult) -> str:
    """Return the card as written."""
    write_card(folder / "README.md", shown)
    assert [path.name for path in folder.iterdir()] == ["README.md"]
    return (folder / "README.md").read_text("utf-8")


def metadata(text: str) -> Any:
    """Return the metadata of a card as the Hub reads them."""
    return ModelCard(text).data


def test_the_hub_reads_the_metadata_and_the_figures(tmp_path: Path) -> None:
    text = card(tmp_path, result(source="/home/me/pets/"))
    read = metadata(text)
    assert (read.base_model, read.library_name, read.pipeline_tag) == (
        "pnasnet_tiny",
        "pnasnet",
        "image-classification",
    )
    assert sorted(read.tags) == ["image-classification", "pnasnet"]
    assert read.model_name == "pnasnet_tiny on pets"
    accuracy, recall = read.eval_results
    assert (accuracy.metric_type, accuracy.metric_value, accuracy.task_type) == (
        "accuracy",
        0.85,
        "image-classification",
    )
    assert (accuracy.dataset_name, accuracy.dataset_type, accuracy.dataset_split) == ("pets", "imagefolder", "test")
    assert (recall.metric_name, recall.metric_value) == ("Mean recall of the classes", 0.85)
    assert "license" not in text
    assert "\n---\n\n# Classifier of 3 classes\n" in text


def test_a_dataset_of_the_hub_is_named_as_there(tmp_path: Path) -> None:
    (accuracy, _) = metadata(card(tmp_path, result(source="hf:uoft-cs/cifar100:cifar100"))).eval_results
    assert (accuracy.dataset_type, accuracy.dataset_name) == ("uoft-cs/cifar100", "uoft-cs/cifar100:cifar100")


def test_no_figures_without_images(tmp_path: Path) -> None:
    assert metadata(card(tmp_path, result(("a", "b"), [[0, 0], [0, 0]]))).eval_results is None


@pytest.mark.parametrize(
    ("base", "weights", "published"),
    [
        ("pnasnet_large", "timm/pnasnet5large.tf_in1k", "timm/pnasnet5large.tf_in1k"),
        ("pnasnet_large", "pnasnet-5_large_2017_12_13", "pnasnet_large"),
        ('my: "net"\n---', "x", r'my: "net"\n---'),
    ],
)
def test_base_model(tmp_path: Path, base: str, weights: str, published: str) -> None:
    assert metadata(card(tmp_path, result(base=base, base_weights=weights))).base_model == published


def test_card_text(tmp_path: Path) -> None:
    text = card(tmp_path, result(notes=["the classifier was replaced"], skipped=["a.jpg: damaged"], history=HISTORY))
    for expected in (
        "pnasnet_tiny, fine-tuned on pets/. Its input is 32 x 48 pixels, preprocessed as `hub`",
        "\nClasses: cat, dog, owl.\n",
        "\n| 20 test images | value | 95 % interval |\n|---|---|---|\n"
        "| top-1 | 85.00 % (17 of 20) | 63.96 to 94.76 % |\n| mean recall of the classes | 85.00 % |  |\n"
        "| top-1 of the classifier on fixed features | 80.00 % |  |\n"
        "| top-1 of always predicting the most frequent class | 50.00 % |  |\n\n",
        "The test images were used neither for training nor for any choice.",
        "\n| cat | 10 | 80.0 % | 49.0 to 94.3 % | 88.9 % |\n| dog | 10 | 90.0 % | 59.6 to 98.2 % | 81.8 % |\n",
        "| owl | 0 | – | – | – |\n",  # noqa: RUF001
        "```sh\npnasnet finetune pets/ -o model\n```",
        "Images: 6 training, 6 validation, 20 test.",
        "Of 3 strengths of the L2 term, 0.01 had the lowest loss on the validation images, 0.4500, with top-1 90.00 %.",
        "The whole network was then trained for 3 epochs; the validation loss was lowest, 0.2500, in epoch 3.",
        "\n- Note: the classifier was replaced\n- Left out because unreadable: 1 image.\n",
        "| seed | 7 |\n| layer decay | 0.8 |\n",
        "| features | 12.3 s |\n| classifier | 3 min 05 s |\n",
        "pnasnet classify photo.jpg --model DIR\n",
        'pnasnet.Module("DIR")',
        "do not apply to other cameras, places or kinds of images",
    ):
        assert expected in text
    assert "license" not in text


def test_without_training_the_network(tmp_path: Path) -> None:
    text = card(tmp_path, result(settings={}, seconds={}))
    assert not re.search("whole network|on fixed features|Note|unreadable|setting|stage", text)


def test_figures_of_validation_images_are_labelled_as_such(tmp_path: Path) -> None:
    text = card(tmp_path, result(part="validation"))
    assert "| 20 validation images |" in text
    assert "There were no test images." in text
    assert "used neither" not in text


def test_names_are_escaped(tmp_path: Path) -> None:
    names = ("<script>a|b</script>", "[x](http://y)", "`*a* _b_ c_d`\n# e", "R&amp;D $1$", "~~f~~\\", "\udcff", "ورد")
    text = card(
        tmp_path, result(names, np.eye(7, dtype=int).tolist(), command="a ``` b", notes=["| n |"], base="__b__")
    )
    assert text.count(r"\<script\>a\|b\</script\>") == 2  # once in a sentence, once in the table
    assert text.count(r"\[x\](http://y)") == 2
    assert text.count(r"\`\*a\* \_b\_ c_d\`\\n# e") == 2
    assert text.count(r"R\&amp;D \$1\$") == 2
    assert text.count(r"\~\~f\~\~\\") == 2
    assert text.count(r"\\xff") == 2
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
    text = card(tmp_path, result([f"kind {i}" for i in range(count)], confusion.tolist()))
    assert "kind 98, kind 99 and 20 more, all listed in metrics.json.\n" in text
    assert "The 50 classes with the lowest recall; all are in metrics.json:" in text
    rows = [line for line in text.splitlines() if line.startswith("| kind ")]
    assert len(rows) == 50
    assert rows[0].startswith("| kind 77 | 3 | 66.7 % |")
    assert "| top-5 | " in text


def test_a_card_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(
        OutputError,
        match=r"^cannot write .*README\.md: No such file or directory; choose another folder",
    ):
        write_card(tmp_path / "missing" / "README.md", result())


def test_durations() -> None:
    times = [0.04, 59.9, 59.96, 61, 3599.4, 3599.6, 7533]
    assert list(map(duration, times)) == [
        "0.0 s", "59.9 s", "1 min 00 s", "1 min 01 s", "59 min 59 s", "1 h 00 min", "2 h 05 min"
    ]  # fmt: skip


def told(shown: FinetuneResult) -> dict[str, Any]:
    """Return the figures as a program reads them."""
    plain: dict[str, Any] = json.loads(json.dumps(shown.to_dict(), allow_nan=False))
    return plain


def test_metrics() -> None:
    stated = told(result(history=HISTORY, mistakes=[mistake()], skipped=["a.jpg: damaged"], notes=["a note"]))
    measured = stated["evaluation"]
    assert measured == json.loads(json.dumps(evaluation(mistakes=(mistake(),)).to_dict()))  # as `evaluate --json`
    assert (measured["top1"]["value"], measured["top1"]["hits"], measured["top1"]["count"]) == (0.85, 17, 20)
    assert measured["top1"]["interval95"] == pytest.approx([0.6396, 0.9476], abs=1e-4)
    assert measured["top5"] is None
    assert measured["most_frequent"]["value"] == 0.5
    assert stated["images"] == {"training": [1, 2, 3], "validation": [2, 2, 2], "test": [10, 10, 0]}
    assert [each["recall"]["value"] for each in measured["per_class"]] == [0.8, 0.9, None]
    assert measured["confusions"][0] == {"true": "cat", "predicted": "dog", "images": 2}
    assert measured["mistakes"] == [
        {"image": "cat/1.jpg", "true": "cat", "predicted": "dog", "probability": 0.987, "index": 0}
    ]
    assert stated["head"]["chosen"] == stated["head"]["trials"][1]
    assert stated["head"]["trials"][0] == {
        "strength": 1.0, "iterations": 20, "training_loss": 0.9, "validation_loss": 0.95, "validation_top1": 0.8
    }  # fmt: skip
    assert stated["history"] == HISTORY
    assert (stated["skipped"], stated["notes"], stated["part"]) == (["a.jpg: damaged"], ["a note"], "test")
    assert stated["settings"] == {"seed": "7", "layer_decay": "0.8"}
    assert stated["seconds"]["features"] == 12.34
    assert stated["classes"] == ["cat", "dog", "owl"]


def test_metrics_of_more_than_five_classes_have_top5() -> None:
    shown = result([f"class {i}" for i in range(6)], np.eye(6, dtype=int).tolist())
    assert told(shown)["evaluation"]["top5"]["hits"] == 6


def test_numbers_that_json_lacks_are_null() -> None:
    history = [{"epoch": 0.0, "loss": 1.0, "validation_loss": float("inf"), "validation_top1": float("nan")}]
    stated = told(result(history=history, head_top1=float("nan")))
    assert stated["history"] == [{"epoch": 0.0, "loss": 1.0, "validation_loss": None, "validation_top1": None}]
    assert stated["head_top1"] is None
