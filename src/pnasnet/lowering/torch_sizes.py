"""Networks for several image sizes with the same weights: padding depends on the size, weights do not."""

import torch

from ..architecture.plan import resolve
from ..architecture.spec import resized
from .torch_network import Network


class NetworkSizes:
    """A network, and the same network for square images of other sizes, built when first needed."""

    def __init__(self, network: Network, *, freeze_batch_norm: bool = False) -> None:
        """All sizes share the parameters and moving averages of `network`.

        `freeze_batch_norm` freezes batch normalization in networks of other sizes; `network` must be frozen already.
        """
        self._network = network
        self._freeze = freeze_batch_norm
        self._others: dict[int, Network] = {}

    def at(self, size: int) -> Network:
        """Return the network for square images of `size`, in the mode of the first one. Raises `SpecError`."""
        network = self._network
        if (size, size) == network.plan.spec.image_size:
            return network
        if size not in self._others:
            self._others[size] = sharing_weights(network, (size, size))
            if self._freeze:
                self._others[size].freeze_batch_norm()
        other = self._others[size]
        # Setting the mode at each step would visit all modules, which is slow compared with a small network's step.
        return other if other.training == network.training else other.train(network.training)


def sharing_weights(network: Network, size: tuple[int, int]) -> Network:
    """Return a network for images of another height and width, with the parameters and buffers of `network`.

    Training, loading or moving either of the two changes both. Raises `SpecError` if no such network exists.
    """
    # The meta device needs no memory, and draws no random numbers, which would make a resumed training differ.
    with torch.device("meta"):
        other = Network(resolve(resized(network.plan.spec, size)), aux_head=network.has_aux_head)
    modules = dict(network.named_modules())
    for name, module in other.named_modules():
        original = modules[name]
        # Sharing the dictionaries themselves: moving one network to another device then moves both.
        module._parameters, module._buffers = original._parameters, original._buffers
        for setting in ("momentum", "track_running_stats"):
            if hasattr(original, setting):
                setattr(module, setting, getattr(original, setting))
    other._channels_last, other.checkpoint_cells = network._channels_last, network.checkpoint_cells
    return other
