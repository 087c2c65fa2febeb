"""Networks as files: what a search found, or anybody wrote, taken by its path wherever a network's name is.

A file is JSON: `{"format": "pnasnet network", "name": ..., "spec": ...}`, where `spec` is `NetworkSpec.to_dict`, and
maybe `about`, which decides nothing. Weights are not in it.
"""

import json
from pathlib import Path
from typing import Any

from ..errors import InputError, OutputError, SpecError
from ..support.files import replacing
from .spec import NetworkSpec
from .zoo import NamedNetwork

SUFFIX = ".json"
_FORMAT = "pnasnet network"
_MOST_BYTES = 1 << 20


def is_network_file(name: str) -> bool:
    """Return whether `name` is the path of a network's file, by its suffix."""
    return Path(name).suffix == SUFFIX


def write_network(path: Path, network: NamedNetwork, about: dict[str, Any] | None = None) -> None:
    """Write a network's file, whole or not at all. `about` is fit for JSON. Raises `OutputError`."""
    value = {"format": _FORMAT, "name": network.name, "spec": network.spec.to_dict(), "about": about or {}}
    try:
        with replacing(path) as temporary:
            temporary.write_text(f"{json.dumps(value, indent=1)}\n", "utf-8")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


def read_network(path: Path) -> NamedNetwork:
    """Return the network of a file.

    Raises:
        InputError: it is not there, or holds no network.
        SpecError: its network cannot exist: a cycle, an unknown operation, numbers out of range.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise InputError(f"{path} has more than {_MOST_BYTES:,} bytes; the file of a network is small")
        value = json.loads(content)
    except FileNotFoundError as error:
        raise InputError(f"{path} is not there: give the file of a network, such as a search's best.json") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not JSON: {error}") from error
    if not isinstance(value, dict) or value.get("format") != _FORMAT or not isinstance(value.get("spec"), dict):
        raise InputError(f'{path} is not the file of a network: it needs "format": "{_FORMAT}" and a "spec"')
    try:
        spec = NetworkSpec.from_dict(value["spec"])
    except (SpecError, AttributeError) as error:
        raise SpecError(f"{path}: {error}") from error
    return NamedNetwork(str(value.get("name") or path.stem), spec)
