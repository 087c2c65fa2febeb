"""One set of weights at several image sizes: TensorFlow's paddings depend on the size, the weights do not."""

import torch

from ..architecture.plan import resolve
from ..architecture.spec import resized
from ..lowering.torch_network import Network


class NetworkSizes:
    """A network, and the same network for images of other sizes, made when first asked for."""

    def __init__(self, network: Network, *, freeze_batch_norm: bool = False) -> None:
        """Take the network whose parameters and moving averages all sizes share.

        `freeze_batch_norm` says whether those of the other sizes are to be frozen, as the first one's then are.
        """
        self._network = network
        self._freeze = freeze_batch_norm
        self._others: dict[int, Network] = {}

    def at(self, size: int) -> Network:
        """Return the network for square images of `size`, in the same mode as the first one."""
        network = self._network
        if (size, size) == network.plan.spec.image_size:
            return network
        if size not in self._others:
            self._others[size] = sharing_weights(network, size)
            if self._freeze:
                self._others[size].freeze_batch_norm()
        other = self._others[size]
        # Going through all modules at each step would cost more than a small network's step should.
        return other if other.training == network.training else other.train(network.training)


def sharing_weights(network: Network, size: int) -> Network:
    """Return a network for square images of `size` whose parameters and buffers are those of `network`.

    Raises `SpecError` where the network cannot have that size.
    """
    # On the meta device: no memory, and no random numbers, which a resumed training would draw at another time.
    with torch.device("meta"):
        other = Network(resolve(resized(network.plan.spec, (size, size))), aux_head=network.has_aux_head)
    modules = dict(network.named_modules())
    for name, module in other.named_modules():
        original = modules[name]
        # The dictionaries themselves are shared, so that moving one network to another device moves all.
        module._parameters, module._buffers = original._parameters, original._buffers
        for setting in ("momentum", "track_running_stats"):
            if hasattr(original, setting):
                setattr(module, setting, getattr(original, setting))
    other.memory_format, other.checkpoint_cells = network.memory_format, network.checkpoint_cells
    return other
