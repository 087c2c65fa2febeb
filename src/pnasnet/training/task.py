"""A training as Lightning sees it: one step's loss and gradients, the optimizer, the batches of each epoch."""

import math
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn import functional
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ..architecture.plan import resolve
from ..errors import DivergedError, InputError
from ..lowering.torch_network import Network
from ..lowering.torch_sizes import NetworkSizes
from .batches import Batch, seed_of
from .optimizers import make_optimizer
from .parameters import parameter_groups
from .recipe import Muon, Progress, Recipe

_CALMER = "lower the learning rate; of a recipe, clip_norm may help, too"


def initial_network(recipe: Recipe) -> Network:
    """Return the recipe's network with random weights, which depend on its seed alone."""
    torch.manual_seed(recipe.seed)
    return Network(resolve(recipe.spec), batch_norm_momentum=recipe.batch_norm_momentum, aux_head=recipe.spec.aux_head)


class ClassifierTask(pl.LightningModule):
    """Trains a network to classify, as a recipe says.

    Attributes:
        network: the network; after the training it holds the averaged weights.
        recipe: what decides the outcome.
    """

    class_weights: Tensor | None

    def __init__(self, network: Network, recipe: Recipe, steps_per_epoch: int) -> None:
        """Take the network with its first weights."""
        super().__init__()
        self.network = network
        self.recipe = recipe
        self._steps = steps_per_epoch
        weights = torch.tensor(recipe.class_weights) if recipe.class_weights else None
        self.register_buffer("class_weights", weights, persistent=False)
        self._counted = torch.zeros(0)  # of the validation: losses, right answers and pictures of each class
        self._optimizer_decays = isinstance(recipe.optimizer, Muon)
        self._sizes = NetworkSizes(network, freeze_batch_norm=recipe.freeze_batch_norm)
        network.set_batch_norm_momentum(recipe.batch_norm_momentum)
        if recipe.freeze_batch_norm:
            network.freeze_batch_norm()

    def compile_network(self) -> None:
        """Let steps run through `torch.compile`. Raises `InputError` where the recipe has several image sizes."""
        if len(set(self.recipe.sizes)) > 1:
            raise InputError("a compiled network has one image size; give a recipe with one, or do not compile")
        self.network.compile()  # in place, so that the parameters keep their names in checkpoints

    def on_train_batch_start(self, batch: Batch, index: int) -> None:
        """Let the step's dropout follow from seed, epoch, step and device alone, so that a resumed run repeats it.

        Seeding each epoch would not do: Lightning and DataLoader draw random numbers of their own now and then.
        """
        # Of a seed's last numbers zeros do not count, and a batch's pictures are changed by the first three.
        torch.manual_seed(seed_of(self.recipe.seed, self.current_epoch, index, 1 + self.global_rank))

    # Steps.

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Return the loss of a batch: cross entropy, and the auxiliary head's."""
        images, labels = batch
        network = self._sizes.at(images.shape[1])
        if self.recipe.drop_path_rises:
            self.network.drop_path_progress.fill_(self.progress().share)  # all sizes share it
        outputs = network(images, ("Logits", "AuxLogits") if self.network.has_aux_head else ("Logits",))
        loss = self._cross_entropy(outputs["Logits"], labels)
        if "AuxLogits" in outputs:
            loss = loss + self.recipe.aux_weight * self._cross_entropy(outputs["AuxLogits"], labels)
        self._check(loss)
        self.log("loss", loss.detach(), on_step=False, on_epoch=True, sync_dist=True, batch_size=len(labels))
        return loss

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Add the gradients of the L2 terms before all are clipped: in TF-Slim these terms are part of the loss."""
        if not self._optimizer_decays:
            self.network.add_regularization_gradients()

    def _cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        smoothing = self.recipe.label_smoothing
        if self.class_weights is None:
            return functional.cross_entropy(logits.float(), labels, label_smoothing=smoothing)
        # Torch's own mean would divide by the weights of a batch, so that a class weighed less where it is frequent.
        losses = functional.cross_entropy(
            logits.float(), labels, self.class_weights, label_smoothing=smoothing, reduction="none"
        )
        return losses.mean()

    def _check(self, loss: Tensor) -> None:
        # On a GPU, looking at each value would make it wait.
        if loss.device.type != "cpu" and self.global_step % 50:
            return
        # All devices look at the mean of all, so that none goes on alone and waits for the others forever.
        value = float(self.trainer.strategy.reduce(loss.detach(), reduce_op="mean"))
        if not math.isfinite(value):
            raise DivergedError(_not_finite(value, f"in step {self.global_step + 1:,}"))

    def on_train_epoch_end(self) -> None:
        """Raise `DivergedError`, before anything is saved, if loss or weights are not finite; log the last rate."""
        value = float(self.trainer.callback_metrics["loss"])
        if not math.isfinite(value):
            raise DivergedError(_not_finite(value, f"in epoch {self.current_epoch + 1}"))
        # The last step's update is in no loss yet.
        if not all(bool(torch.isfinite(value).all()) for value in self.network.state_dict().values()):
            raise DivergedError(f"the weights became infinite in epoch {self.current_epoch + 1}: {_CALMER}")
        rate = self.recipe.schedule(self.progress(max(self.global_step - 1, 0)))
        self.log("learning_rate", rate)

    def on_validation_epoch_start(self) -> None:
        """Begin to count."""
        assert self.recipe.spec.num_classes is not None  # the recipe sees to it
        self._counted = torch.zeros(1 + 2 * self.recipe.spec.num_classes, device=self.device)

    def validation_step(self, batch: Batch, index: int) -> None:
        """Count the right answers, and sum the losses, of the averaged weights; pictures labelled -1 do not count."""
        images, labels = batch
        logits = self.network(images, ("Logits",))["Logits"].float()
        losses = functional.cross_entropy(logits, labels, self.class_weights, ignore_index=-1, reduction="sum")
        pictures = functional.one_hot(labels.clamp_min(0), logits.shape[1]) * (labels >= 0)[:, None]
        hits = pictures * (logits.argmax(1) == labels)[:, None]
        self._counted += torch.cat([losses.detach()[None], hits.sum(0), pictures.sum(0)])

    def on_validation_epoch_end(self) -> None:
        """Log the means over all devices. Lightning's own would round the number of pictures of a device."""
        counted = self.trainer.strategy.reduce(self._counted, reduce_op="sum")
        assert isinstance(counted, Tensor)
        losses, (hits, count) = counted[0], counted[1:].reshape(2, -1)
        weighed = count if self.class_weights is None else count * self.class_weights
        loss = losses / weighed.sum()
        if not math.isfinite(float(loss)):
            raise DivergedError(
                f"the validation loss became {float(loss)} in epoch {self.current_epoch + 1}: {_CALMER}"
            )
        self.log("validation_loss", loss)
        self.log("validation_top1", hits.sum() / count.sum())
        if self.class_weights is not None:
            there = count > 0
            self.log("validation_recall", (hits[there] / count[there]).mean())

    # What Lightning asks for.

    def configure_optimizers(self) -> Any:
        """Return the optimizer, with a learning rate for each step."""
        weight_decay = self.recipe.spec.weight_decay if self._optimizer_decays else 0.0
        groups = parameter_groups(self.network, 1.0, weight_decay=weight_decay, layer_decay=self.recipe.layer_decay)
        optimizer = make_optimizer(self.recipe.optimizer, groups)
        scheduler = LambdaLR(optimizer, lambda step: self.recipe.schedule(self.progress(step)))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def progress(self, step: int | None = None) -> Progress:
        """Return how far the training is before `step`, by default the one that runs."""
        step = self.global_step if step is None else step
        return Progress(step, self._steps, self._steps * len(self.recipe.sizes))


def _not_finite(value: float, when: str) -> str:
    return f"the loss became {value} {when}: {_CALMER}"
