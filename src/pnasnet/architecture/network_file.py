"""Network files: the results of a search, or your own. Commands accept their paths like names of networks.

A file is JSON: `{"format": "pnasnet network", "name": ..., "spec": ...}`, where `spec` is `NetworkSpec.to_dict`, and
optionally `about`, which has no effect. It contains no weights.
"""

import json
from pathlib import Path
from typing import Any

from ..errors import InputError, SpecError
from ..support.arguments import checked
from ..support.files import reading, write_json
from .spec import NetworkSpec
from .zoo import NamedNetwork

SUFFIX = ".json"
_FORMAT = "pnasnet network"
_MAX_BYTES = 1 << 20


def is_network_file(name: str) -> bool:
    """Return whether `name` has the suffix of a network file."""
    return Path(name).suffix == SUFFIX


@checked
def write_network(path: Path, network: NamedNetwork, about: dict[str, Any] | None = None) -> None:
    """Write a network file, whole or not at all. `about` must be valid JSON. Raises `OutputError`."""
    write_json(path, {"format": _FORMAT, "name": network.name, "spec": network.spec.to_dict(), "about": about or {}})


@checked
def read_network(path: Path) -> NamedNetwork:
    """Return the network of a network file.

    Raises:
        InputError: the file is missing, or is not a network file.
        SpecError: the network cannot exist: a cycle, an unknown operation, numbers out of range.
    """
    try:
        with reading(path, "pass a network file, such as a search's best.json"), path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise InputError(f"{path} has more than {_MAX_BYTES:,} bytes: pass a network file, which is smaller")
        value = json.loads(content)
    except InputError:  # which is a ValueError
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}") from error
    if not isinstance(value, dict) or value.get("format") != _FORMAT or not isinstance(value.get("spec"), dict):
        raise InputError(f'{path} is not a network file: it needs "format": "{_FORMAT}" and a "spec"')
    try:
        spec = NetworkSpec.from_dict(value["spec"])
    except (SpecError, AttributeError) as error:
        raise SpecError(f"{path}: {error}") from error
    return NamedNetwork(str(value.get("name") or path.stem), spec)
