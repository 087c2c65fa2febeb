"""Completes values: each function is the `shell_complete` of options and arguments.

The user waits for completions, so these functions import neither NumPy, torch nor an engine. Names that the library
defines in modules with such imports are repeated at the end; a test compares them.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import click

from ..errors import PnasnetError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from ..architecture.zoo import NamedNetwork

    Items = list[CompletionItem[str]]
Completer = Callable[[click.Context, click.Parameter, str], "Items"]

DEFAULT_MODEL = "pnasnet_small"
"""The model of commands without --model and --weights."""


def _items(names: Iterable[tuple[str, str]], incomplete: str, kind: str = "plain") -> "Items":
    """Return the names that begin with `incomplete`, each with its help."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(name, kind, about or None) for name, about in names if name.startswith(incomplete)]


def one_of(*names: str) -> Completer:
    """Return a completer of fixed names."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> "Items":
        return _items(((name, "") for name in names), incomplete)

    return complete


def paths(context: click.Context, parameter: click.Parameter, incomplete: str) -> "Items":
    """Complete files and folders."""
    return _items([(incomplete, "")], incomplete, "file")


def folders(context: click.Context, parameter: click.Parameter, incomplete: str) -> "Items":
    """Complete folders."""
    return _items([(incomplete, "")], incomplete, "dir")


def models(context: click.Context, parameter: click.Parameter, incomplete: str) -> "Items":
    """Complete networks with weights, published sets of weights, and paths."""
    from ..architecture.zoo import NETWORKS

    described = [(network.name, _about(network)) for network in NETWORKS.values() if network.weights]
    sets = [
        (record.id, f"{network.name}, {record.origin}")
        for network in NETWORKS.values()
        for record in network.weights
        if record.id != network.name
    ]
    return [*paths(context, parameter, incomplete), *_items([*described, *sets], incomplete)]


def _about(network: "NamedNetwork") -> str:
    height, width = network.spec.image_size
    return f"{network.spec.num_cells} cells, {network.spec.filters} filters, {height}x{width}"


def networks(context: click.Context, parameter: click.Parameter, incomplete: str) -> "Items":
    """Complete networks, with and without published weights."""
    from ..architecture.zoo import NETWORKS

    return _items(((network.name, _about(network)) for network in NETWORKS.values()), incomplete)


def weights(context: click.Context, parameter: click.Parameter, incomplete: str) -> "Items":
    """Complete published sets of weights, of --model only if it is given, and paths."""
    from ..architecture.zoo import NETWORKS

    chosen = _network(context)
    sets = [
        (record.id, f"{network.name}, {record.origin}")
        for network in ([chosen] if chosen else NETWORKS.values())
        for record in network.weights
    ]
    return [*paths(context, parameter, incomplete), *_items(sets, incomplete)]


def endpoints(context: click.Context, parameter: click.Parameter, incomplete: str) -> "Items":
    """Complete the endpoints of the model, with their shapes; those of every network if the model is a path."""
    from ..architecture.plan import resolve
    from ..architecture.zoo import NETWORKS

    network = _network(context)
    if network is None and not _given(context):
        network = NETWORKS[DEFAULT_MODEL]
    shapes: dict[str, Any] = dict.fromkeys(("global_pool", "Logits", "Predictions"), ())
    if network is not None:
        shapes = dict(resolve(network.spec).endpoints())
    return _items(((name, "x".join(map(str, shape))) for name, shape in shapes.items()), incomplete)


def _given(context: click.Context) -> "str | None":
    """Return the model on the command line; if there is none, the weights, which determine their network."""
    model = context.params.get("model") or context.params.get("weights")
    arguments = [each.name for each in context.command.params if isinstance(each, click.Argument)]
    if arguments[:1] == ["model"] and context.args:  # where Click leaves arguments before an option without its value
        model = context.args[0]
    return model if isinstance(model, str) else None


def _network(context: click.Context) -> "NamedNetwork | None":
    """Return the network that the command line names; None if it names none or a path."""
    from ..architecture.zoo import find_named

    try:
        named = find_named(_given(context) or "")
    except PnasnetError:  # a handle that never existed
        return None
    return named.network if named else None


def recipes(context: click.Context, parameter: click.Parameter, incomplete: str) -> "Items":
    """Complete the recipes in the package, and paths."""
    from ..train.recipes import NAMES

    return [*paths(context, parameter, incomplete), *one_of(*NAMES)(context, parameter, incomplete)]


def configurations(context: click.Context, parameter: click.Parameter, incomplete: str) -> "Items":
    """Complete the configurations of searches in the package, and paths."""
    return [*paths(context, parameter, incomplete), *one_of(*CONFIGURATIONS)(context, parameter, incomplete)]


ENGINES = ("auto", "openvino", "torch")
PRECISIONS = ("float32", "bfloat16")
PRESETS = ("hub", "slim", "timm")
VECTORS = ("float32", "float16", "bfloat16")
FORMATS = ("onnx", "openvino", "triton", "ovms", "saved_model")
PROJECTIONS = ("pca", "umap")
ACCELERATORS = ("auto", "cpu", "gpu")
LOGGERS = ("tensorboard", "wandb")
ALGORITHMS = ("progressive", "random", "evolution")
PREDICTORS = ("lstm", "lstm-ensemble", "mlp", "mlp-ensemble", "linear", "random")
CONFIGURATIONS = ("paper", "nasnet_operations", "two_cores", "minutes")
