"""The training loop: one process, checkpoints after each epoch, the same result after a kill and a second start."""

import logging
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from ..errors import InputError
from ..network import Network
from ..plan import resolve
from ..spec import NetworkSpec, resized
from .data import Dataset, augment, batches

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the outcome of a training, but for the data."""

    spec: NetworkSpec
    stages: tuple[tuple[int, int], ...]
    """(image size, epochs) one after the other; small images first, at a fraction of the cost."""
    batch_size: int = 64
    peak_learning_rate: float = 0.1
    warm_up: float = 0.15
    """Share of all steps in which the learning rate rises from 0; it falls to 0 along a cosine in the rest."""
    momentum: float = 0.9
    label_smoothing: float = 0.1
    clip_norm: float = 5.0
    average_decay: float = 0.998
    """Decay of the exponential moving average of the weights, which is what is kept."""
    batch_norm_momentum: float = 0.9
    seed: int = 0

    @property
    def epochs(self) -> list[int]:
        """The image size of each epoch."""
        return [size for size, count in self.stages for _ in range(count)]

    def learning_rate(self, progress: float) -> float:
        """Return the learning rate at `progress`, from 0 at the start to 1 at the end."""
        if progress < self.warm_up:
            return self.peak_learning_rate * progress / self.warm_up
        return self.peak_learning_rate * (1 + math.cos(math.pi * (progress - self.warm_up) / (1 - self.warm_up))) / 2


class Training:
    """A training in progress: what a checkpoint holds, and how an epoch changes it."""

    def __init__(self, recipe: Recipe, data: Dataset) -> None:
        """Start from random weights, which depend on the recipe's seed alone."""
        torch.manual_seed(recipe.seed)
        self.recipe, self.data = recipe, data
        self.network = self._network(recipe.spec.image_size[0])
        self.average = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.optimizer = self._optimizer()
        self.epoch = 0

    def _network(self, size: int) -> Network:
        plan = resolve(resized(self.recipe.spec, (size, size)))
        network = Network(plan, batch_norm_momentum=self.recipe.batch_norm_momentum)
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def _optimizer(self) -> torch.optim.SGD:
        """L2 on the kernels alone, not on scales and offsets, as TF-Slim regularizes."""
        kernels = [p for p in self.network.parameters() if p.ndim > 1]
        others = [p for p in self.network.parameters() if p.ndim <= 1]
        groups: list[dict[str, Any]] = [
            {"params": kernels, "weight_decay": self.recipe.spec.weight_decay},
            {"params": others},
        ]
        return torch.optim.SGD(groups, lr=0.0, momentum=self.recipe.momentum, nesterov=True)

    def run_epoch(self) -> float:
        """Train one epoch and return its mean loss. Its randomness depends on seed and epoch alone."""
        recipe, size = self.recipe, self.recipe.epochs[self.epoch]
        generator = torch.Generator().manual_seed(recipe.seed * 1000 + self.epoch)
        torch.manual_seed(recipe.seed * 1000 + self.epoch)
        if self.network.plan.spec.image_size[0] != size:
            self._change_size(size)
        self.network.train()
        steps = len(self.data) // recipe.batch_size
        total, losses = steps * len(recipe.epochs), 0.0
        chunks = batches(self.data, recipe.batch_size, generator)
        bar = tqdm(
            chunks, f"epoch {self.epoch + 1}/{len(recipe.epochs)} at {size} px", steps, unit="batch", mininterval=5
        )
        for index, (images, labels) in enumerate(bar):
            progress = (self.epoch * steps + index) / total
            losses += self._step(augment(images, size, generator), labels, progress)
            bar.set_postfix(loss=f"{losses / (index + 1):.3f}", refresh=False)
        self.epoch += 1
        return losses / steps

    def _change_size(self, size: int) -> None:
        """Go on with images of another size: other paddings, the same parameters and momenta."""
        old, state = self.network, self.optimizer.state_dict()
        self.network = self._network(size)
        self.network.load_state_dict(old.state_dict())
        self.optimizer = self._optimizer()
        self.optimizer.load_state_dict(state)

    def _step(self, images: Tensor, labels: Tensor, progress: float) -> float:
        recipe = self.recipe
        self.network.drop_path_progress.fill_(progress)
        logits = self.network(images, ("Logits",))["Logits"]
        loss = functional.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
        if not math.isfinite(loss.item()):
            raise InputError(f"the loss became {loss.item()} in epoch {self.epoch + 1}; lower peak_learning_rate")
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), recipe.clip_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.learning_rate(progress)
        self.optimizer.step()
        for name, value in self.network.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - recipe.average_decay)
            else:
                self.average[name].copy_(value)
        return loss.item()

    def averaged(self) -> Network:
        """Return the network of the averaged weights, at the recipe's image size, ready for inference."""
        network = self._network(self.recipe.spec.image_size[0])
        network.load_state_dict(self.average)
        return network.eval()

    def save(self, path: Path) -> None:
        """Write a checkpoint; whatever happens meanwhile, `path` holds a whole one."""
        state = {"recipe": _plain(self.recipe), "epoch": self.epoch, "network": self.network.state_dict()}
        temporary = path.with_suffix(".partial")
        torch.save({**state, "average": self.average, "optimizer": self.optimizer.state_dict()}, temporary)
        temporary.replace(path)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint. Raises `InputError` where it was made with another recipe."""
        state = torch.load(path, weights_only=True)
        if state["recipe"] != _plain(self.recipe):
            raise InputError(f"{path} was made with another recipe; give another output folder")
        self.epoch, self.average = state["epoch"], state["average"]
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])


def _plain(recipe: Recipe) -> dict[str, Any]:
    return {**asdict(recipe), "spec": recipe.spec.to_dict(), "stages": [list(stage) for stage in recipe.stages]}


def train(recipe: Recipe, data: Dataset, folder: Path) -> Training:
    """Train to the end, from the newest checkpoint in `folder` if there is one."""
    folder.mkdir(parents=True, exist_ok=True)
    training, checkpoint = Training(recipe, data), folder / "checkpoint.pt"
    if checkpoint.exists():
        training.resume(checkpoint)
        log.info("resuming %s after epoch %d", checkpoint, training.epoch)
    while training.epoch < len(recipe.epochs):
        loss = training.run_epoch()
        training.save(checkpoint)
        log.info("epoch %d/%d: loss %.4f", training.epoch, len(recipe.epochs), loss)
    return training


@torch.inference_mode()
def predict(network: Network, data: Dataset, endpoint: str, batch_size: int = 250) -> Tensor:
    """Return an endpoint for all images, [N, length] float32."""
    network.eval()
    parts = torch.split(data.images, batch_size)
    return torch.cat([network(part.float() / 255, (endpoint,))[endpoint] for part in parts])


def accuracy(predicted: Tensor, labels: Tensor) -> float:
    """Return the share of images whose largest logit is their label's."""
    return (predicted.argmax(1) == labels).float().mean().item()


def nearest_neighbour_accuracy(
    train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor, k: int = 20
) -> float:
    """Return the share of test vectors whose k nearest training vectors (cosine) vote for their label."""
    train, test = functional.normalize(train), functional.normalize(test)
    votes = [train_labels[(part @ train.T).topk(k).indices] for part in torch.split(test, 500)]
    return (torch.cat(votes).mode(1).values == test_labels).float().mean().item()
