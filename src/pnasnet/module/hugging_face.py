"""Models on the Hugging Face Hub: opened from there, saved with a card, and uploaded."""

import shutil
from abc import ABC, abstractmethod
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self

from ..architecture.zoo import PUBLISHED
from ..errors import WeightsNotFoundError
from ..support.arguments import checked
from ..support.files import write_text, writing
from ..support.paths import exists
from ..support.text import clean
from ..weights import hub
from ..weights.download import DownloadError
from ..weights.fetch import is_offline

if TYPE_CHECKING:
    from .open import Model

WEIGHTS, CARD = "model.safetensors", "README.md"
_CARD_FILES = (CARD, "metrics.json")
"""Files that describe the weights, in a fine-tuned model's folder."""


class OnHub(ABC):
    """The methods of a module for the Hub, named as in other libraries."""

    model: "Model"

    @abstractmethod
    def export(self, path: str | PathLike[str]) -> None:
        """Write the present weights."""

    @property
    @abstractmethod
    def _is_unchanged(self) -> bool:
        """Whether the weights cannot have changed since they were opened."""

    @classmethod
    @checked
    def from_pretrained(
        cls, name: str | Path, *, revision: str | None = None, offline: bool | None = None, **arguments: Any
    ) -> Self:
        """Open a model of the Hugging Face Hub (`OWNER/NAME`, with `model.safetensors`), or of a local folder.

        The file is cached in `HF_HOME`; `HF_TOKEN` and `HF_ENDPOINT` apply.

        Args:
            name: the repository or the folder.
            revision: a branch, tag or commit of the repository; None for its main branch.
            offline: whether to download nothing; None reads the environment variable `PNASNET_OFFLINE`.
            arguments: the other arguments of `Module`.

        Raises:
            WeightsNotFoundError: no such repository or file, no access, or no connection.
            CorruptWeightsError: the download is damaged.
        """
        path = Path(name) if exists(name) else _download(str(name), revision, offline)
        return cls(path, offline=offline, **arguments)  # type: ignore[call-arg]

    @checked
    def save_pretrained(self, folder: str | PathLike[str]) -> None:
        """Write the weights as `model.safetensors`, and a model card, `README.md`, into a folder.

        A card beside the opened weights, as in a fine-tuned model's folder, is copied unless the weights may have
        changed; otherwise a new one is written. Existing files are replaced. Raises `OutputError`.
        """
        folder = Path(folder)
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        source = self.model.weights.files[0].parent if self.model.weights and self.model.weights.files else None
        self.export(folder / WEIGHTS)
        if not (self._is_unchanged and source and (source / CARD).is_file()):
            write_text(folder / CARD, card(self.model))
        elif source.resolve() != folder.resolve():
            for name in _CARD_FILES:
                if (source / name).is_file():
                    with writing(folder / name):
                        shutil.copyfile(source / name, folder / name)

    @checked
    def push_to_hub(
        self,
        repository: str,
        *,
        private: bool | None = None,
        revision: str | None = None,
        commit_message: str = "Upload model",
        token: str | None = None,
    ) -> str:
        """Upload the files of `save_pretrained` to the Hugging Face Hub, and return the commit's URL.

        Args:
            repository: `OWNER/NAME`; created if it does not exist.
            private: whether a new repository is private; None for the owner's default.
            revision: the branch to commit to; None for the main branch.
            commit_message: the first line of the commit.
            token: access token; None for the one of `hf auth login` or `HF_TOKEN`.

        Raises `OutputError` if the upload fails.
        """
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            return hub.upload(Path(folder), repository, private, revision, commit_message, token)


def card(model: "Model") -> str:
    """Return a model card in Markdown, with the metadata that the Hub reads."""
    from huggingface_hub import ModelCardData

    classes = model.spec.num_classes
    published = PUBLISHED.get(model.origin)
    data = ModelCardData(
        library_name="pnasnet",
        pipeline_tag="image-classification" if classes else "image-feature-extraction",
        tags=["pnasnet"],
        license=published.licence.lower() if published else None,
        model_name=clean(model.name),
    )
    height, width = model.spec.image_size
    rows = {
        "Weights": clean(model.origin).replace("|", "\\|"),
        "Images": f"{height}x{width}, preprocessing `{model.preset}`",
        "Features": f"{model.plan.num_features:,}",
        "Classes": f"{classes:,}" if classes else "none",
        "Parameters": f"{model.plan.parameters:,}",
        "Mult-adds": f"{model.plan.mult_adds:,}",
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return f"""---
{data.to_yaml()}
---

# {clean(model.name)}

| | |
|---|---|
{table}

```python
from pnasnet import Module

module = Module.from_pretrained("OWNER/NAME")  # this repository
features = module.embed(["photo.jpg"])
```
"""


def _download(name: str, revision: str | None, offline: bool | None) -> Path:
    if not hub.is_repository(name):
        raise WeightsNotFoundError(f"{clean(name)} is neither a folder nor a repository, OWNER/NAME: check the path")
    if is_offline() if offline is None else offline:
        if found := hub.cached(name, WEIGHTS, revision):
            return found
        by = "PNASNET_OFFLINE" if offline is None else "offline=True"
        raise WeightsNotFoundError(f"{name} is not in Hugging Face's cache, and downloads are disabled by {by}")
    try:
        return hub.download(name, WEIGHTS, revision, progress=True)
    except DownloadError as error:
        raise WeightsNotFoundError(
            f"cannot download {WEIGHTS} of {name} from the Hugging Face Hub ({error}): check the name, the connection "
            "and HF_TOKEN"
        ) from error
