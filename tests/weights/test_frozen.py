"""Weights in the graph of a frozen SavedModel."""

from pathlib import Path

import numpy as np
import pytest

from pnasnet.errors import CorruptWeightsError, WeightsMismatchError, WeightsNotFoundError
from pnasnet.module.open import open_model
from pnasnet.weights import open_weights
from pnasnet.weights.saved_model import read_constants

from tests.helpers.weights_files import chunk, number, one_line

VALUES = np.arange(6, dtype="<f4").reshape(2, 3)


def constant(name: str, *sizes: int, content: bytes = VALUES.tobytes(), dtype: int = 1) -> bytes:
    """Return a NodeDef of a constant."""
    shape = b"".join(chunk(2, number(1, size)) for size in sizes)
    tensor = number(1, dtype) + chunk(2, shape) + (chunk(4, content) if content else b"")
    value = chunk(1, b"value") + chunk(2, chunk(8, tensor))
    return chunk(1, name.encode()) + chunk(2, b"Const") + chunk(5, value)


def write(path: Path, nodes: list[bytes], of_functions: list[bytes] | None = None) -> Path:
    library = chunk(2, b"".join(chunk(1, chunk(3, node)) for node in of_functions or []))
    graph = b"".join(chunk(1, node) for node in nodes) + library
    path.write_bytes(chunk(2, chunk(2, graph)))
    return path


def test_constants_of_the_graph_and_of_its_functions(tmp_path: Path) -> None:
    other = chunk(1, b"relu") + chunk(2, b"Relu")
    scalar = constant("two", content=VALUES[0, :1].tobytes())
    whole = constant("axes", 6, dtype=3)
    short = constant("filled", 2, 3, content=b"")
    path = write(
        tmp_path / "saved_model.pb", [constant("a/w", 2, 3), other, scalar], [constant("b/w", 6), whole, short]
    )
    arrays = read_constants(path)
    assert dict(arrays.shapes) == {"a/w": (2, 3), "b/w": (6,)}
    np.testing.assert_array_equal(arrays["a/w"], VALUES)
    arrays["b/w"][:] = 0  # each read is a new array
    np.testing.assert_array_equal(arrays["b/w"], VALUES.reshape(-1))


@pytest.mark.parametrize("sizes", [(2, 2), (2**40, 2**40), (0, 6), (-1, 6), (1,) * 8 + (6,)])
def test_a_constant_that_claims_another_shape_is_refused(sizes: tuple[int, ...], tmp_path: Path) -> None:
    path = write(tmp_path / "saved_model.pb", [constant("a/w", *sizes)])
    with pytest.raises(CorruptWeightsError, match="a/w claims the shape") as caught:
        open_weights(tmp_path)
    assert str(path) in one_line(caught.value)


def test_two_constants_of_one_name_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "saved_model.pb", [constant("a/w", 6)], [constant("a/w", 6)])
    with pytest.raises(CorruptWeightsError, match="two constants named a/w"):
        open_weights(tmp_path)


def test_another_networks_constants_do_not_fit(tmp_path: Path) -> None:
    write(tmp_path / "saved_model.pb", [constant("a/w", 6)])
    with pytest.raises(WeightsMismatchError):
        open_model("pnasnet_tiny", str(tmp_path))


def test_without_constants_the_missing_checkpoint_is_named(tmp_path: Path) -> None:
    write(tmp_path / "saved_model.pb", [chunk(1, b"relu") + chunk(2, b"Relu")])
    with pytest.raises(WeightsNotFoundError, match=r"variables\.index does not exist"):
        open_weights(tmp_path)
