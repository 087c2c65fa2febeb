"""A training as a Lightning module: the loss and gradients of a step, the validation, the optimizer."""

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
from .batches import TrainingBatch, seed_of
from .optimizers import make_optimizer
from .parameters import parameter_groups
from .recipe import Muon, Recipe

_CALMER = "lower the learning rate, or set clip_norm in the recipe"


def initial_network(recipe: Recipe) -> Network:
    """Return the recipe's network with random weights that depend on its seed alone."""
    torch.manual_seed(recipe.seed)
    return Network(resolve(recipe.spec), batch_norm_momentum=recipe.batch_norm_momentum, aux_head=recipe.spec.aux_head)


class ClassifierTask(pl.LightningModule):
    """Trains a network to classify, with a recipe.

    Attributes:
        network: the network to train; afterwards it has the averaged weights.
        recipe: decides the outcome.
    """

    class_weights: Tensor | None

    def __init__(self, network: Network, recipe: Recipe, steps_per_epoch: int) -> None:
        super().__init__()
        self.network = network
        self.recipe = recipe
        self._steps = steps_per_epoch
        weights = torch.tensor(recipe.class_weights) if recipe.class_weights else None
        self.register_buffer("class_weights", weights, persistent=False)
        self._counted = torch.zeros(0)  # in validation: sum of losses; correct answers and images of each class
        self._optimizer_decays = isinstance(recipe.optimizer, Muon)
        self._sizes = NetworkSizes(network, freeze_batch_norm=recipe.freeze_batch_norm)
        network.set_batch_norm_momentum(recipe.batch_norm_momentum)
        if recipe.freeze_batch_norm:
            network.freeze_batch_norm()

    def compile_network(self) -> None:
        """Run steps through `torch.compile`. Raises `InputError` if the recipe has several image sizes."""
        if len(set(self.recipe.sizes)) > 1:
            raise InputError("a compiled network has one image size: use a recipe with one size, or do not compile")
        self.network.compile()  # in place, so that the parameters keep their names in checkpoints

    def on_train_batch_start(self, batch: TrainingBatch, index: int) -> None:
        """Seed the step's dropout by the recipe's seed, epoch, step and device, so that a resumed run repeats it.

        Seeding each epoch is not enough: Lightning and DataLoader draw random numbers of their own.
        """
        # Rank 0 must differ from no rank: trailing zeros do not change a seed, and the first three numbers seed the
        # changes to the batch's images.
        torch.manual_seed(seed_of(self.recipe.seed, self.current_epoch, index, 1 + self.global_rank))

    # Steps.

    def training_step(self, batch: TrainingBatch, index: int) -> Tensor:
        """Return the loss of a batch: cross entropy, plus that of the auxiliary head."""
        images, labels = batch
        network = self._sizes.at(images.shape[1])
        if self.recipe.drop_path_rises:
            self.network.drop_path_progress.fill_(self._share(self.global_step))  # shared by all sizes
        outputs = network(images, ("Logits", "AuxLogits") if self.network.has_aux_head else ("Logits",))
        loss = self._cross_entropy(outputs["Logits"], labels)
        if "AuxLogits" in outputs:
            loss = loss + self.recipe.aux_weight * self._cross_entropy(outputs["AuxLogits"], labels)
        self._check(loss)
        self.log("loss", loss.detach(), on_step=False, on_epoch=True, sync_dist=True, batch_size=len(labels))
        return loss

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Add the gradients of the L2 terms before clipping: in TF-Slim these terms are part of the loss."""
        if not self._optimizer_decays:
            self.network.add_regularization_gradients()

    def _cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        smoothing = self.recipe.label_smoothing
        if self.class_weights is None:
            return functional.cross_entropy(logits.float(), labels, label_smoothing=smoothing)
        # Torch's own mean divides by the weights in the batch: a class would count less the more frequent it is.
        losses = functional.cross_entropy(
            logits.float(), labels, self.class_weights, label_smoothing=smoothing, reduction="none"
        )
        return losses.mean()

    def _check(self, loss: Tensor) -> None:
        # Reading the value makes a GPU wait.
        if loss.device.type != "cpu" and self.global_step % 50:
            return
        # Every device checks the mean over all, so that all stop: one that continued alone would wait forever.
        value = float(self.trainer.strategy.reduce(loss.detach(), reduce_op="mean"))
        if not math.isfinite(value):
            raise DivergedError(_not_finite(value, f"in step {self.global_step + 1:,}"))

    def on_train_epoch_end(self) -> None:
        """Log the last learning rate. Raise `DivergedError`, before the save, if loss or weights are not finite."""
        value = float(self.trainer.callback_metrics["loss"])
        if not math.isfinite(value):
            raise DivergedError(_not_finite(value, f"in epoch {self.current_epoch + 1}"))
        # The last step's update is not in any loss.
        if not all(bool(torch.isfinite(value).all()) for value in self.network.state_dict().values()):
            raise DivergedError(f"the weights became infinite in epoch {self.current_epoch + 1}: {_CALMER}")
        self.log("learning_rate", self._rate(max(self.global_step - 1, 0)))

    def on_validation_epoch_start(self) -> None:
        """Reset the counts."""
        assert self.recipe.spec.num_classes is not None  # checked by the recipe
        self._counted = torch.zeros(1 + 2 * self.recipe.spec.num_classes, device=self.device)

    def validation_step(self, batch: TrainingBatch, index: int) -> None:
        """Add the losses and correct predictions of the averaged weights. Images labelled -1 do not count."""
        images, labels = batch
        logits = self.network(images, ("Logits",))["Logits"].float()
        losses = functional.cross_entropy(logits, labels, self.class_weights, ignore_index=-1, reduction="sum")
        pictures = functional.one_hot(labels.clamp_min(0), logits.shape[1]) * (labels >= 0)[:, None]
        hits = pictures * (logits.argmax(1) == labels)[:, None]
        self._counted += torch.cat([losses.detach()[None], hits.sum(0), pictures.sum(0)])

    def on_validation_epoch_end(self) -> None:
        """Log the exact means over all devices; Lightning would round their mean number of images."""
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
            present = count > 0
            self.log("validation_recall", (hits[present] / count[present]).mean())

    # The optimizer.

    def configure_optimizers(self) -> Any:
        """Return the optimizer, with a learning rate for each step."""
        weight_decay = self.recipe.spec.weight_decay if self._optimizer_decays else 0.0
        groups = parameter_groups(self.network, 1.0, weight_decay=weight_decay, layer_decay=self.recipe.layer_decay)
        optimizer = make_optimizer(self.recipe.optimizer, groups)
        scheduler = LambdaLR(optimizer, self._rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _rate(self, step: int) -> float:
        return self.recipe.schedule(self._share(step), step / self._steps)

    def _share(self, step: int) -> float:
        return step / (self._steps * len(self.recipe.sizes))


def _not_finite(value: float, when: str) -> str:
    return f"the loss became {value} {when}: {_CALMER}"
