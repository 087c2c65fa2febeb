"""The stack on which signals are handled, although OpenVINO replaces it on some processors."""

import ctypes
import sys
from typing import Any

import numpy as np
import openvino
import pytest

from pnasnet import Module
from pnasnet.engines import EngineOptions
from pnasnet.engines.signal_stack import _Stack, kept_signal_stack
from pnasnet.quantize import graphs

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the stack is Linux's")

SIZE = 2**17
BATCH = np.zeros((2, 32, 32, 3), np.float32)


def current() -> int | None:
    """Return the address of the thread's stack for signals."""
    found = _Stack()
    ctypes.CDLL(None).sigaltstack(None, ctypes.byref(found))
    address: int | None = found.pointer
    return address


class Replaced:
    """Replaces the stack, as OpenVINO does, by memory that will be freed."""

    def __init__(self) -> None:
        self._memory = ctypes.create_string_buffer(SIZE)
        own = _Stack(ctypes.addressof(self._memory), 0, SIZE)
        assert ctypes.CDLL(None).sigaltstack(ctypes.byref(own), None) == 0
        assert current() == own.pointer


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[Replaced]:
    """Let each compilation replace the stack, on any processor. Return the stacks."""
    made: list[Replaced] = []
    compile_model, import_model = openvino.Core.compile_model, openvino.Core.import_model

    def replacing(original: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            made.append(Replaced())
            return original(*arguments, **options)

        return call

    monkeypatch.setattr(openvino.Core, "compile_model", replacing(compile_model))
    monkeypatch.setattr(openvino.Core, "import_model", replacing(import_model))
    return made


def fail() -> None:
    with kept_signal_stack():
        Replaced()
        raise ValueError("broken")


def test_the_stack_is_as_before_after_a_block_that_replaces_it() -> None:
    before = current()
    with kept_signal_stack():
        stack = Replaced()
        inside = current()
        with pytest.raises(ValueError, match="broken"):
            fail()
        assert current() == inside != before
    assert current() == before
    assert stack


def test_an_engine_keeps_it(compiled: list[Replaced]) -> None:
    before = current()
    engine = Module("pnasnet_tiny", engine=EngineOptions("openvino")).engine
    assert compiled
    assert current() == before
    engine.close()
    assert current() == before


def test_quantization_keeps_it(compiled: list[Replaced], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its models die at any time, since the library that quantizes has some in circles of references."""
    module, before = Module("pnasnet_tiny"), current()
    graph = graphs.pruned(graphs.float_graph(module.model.plan, module.model.arrays()), ["global_pool"])
    graphs.run(graph, BATCH, 2)
    assert len(compiled) == 1
    assert current() == before
    node = next(node.get_friendly_name() for node in graph.get_ops() if node.get_type_name() == "Convolution")
    graphs.channel_ranges(graph, {"first": node}, BATCH, 2)
    assert len(compiled) == 2
    assert current() == before
    nncf = pytest.importorskip("nncf", reason="the extra int8 is not installed")

    def quantize(*_arguments: object, **_options: object) -> None:
        compiled.append(Replaced())

    monkeypatch.setattr(nncf, "quantize", quantize)
    graphs.quantized(graph, BATCH, 2, lambda stage, done, total: None)
    assert len(compiled) == 3
    assert current() == before
