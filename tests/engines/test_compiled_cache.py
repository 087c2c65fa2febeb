"""The second start: from a compiled model on disk, without the weights, and never wrong or fatal."""

import gc
import json
import logging
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pnasnet.architecture.cells import PNASNET5
from pnasnet.architecture.plan import resolve
from pnasnet.architecture.spec import NetworkSpec
from pnasnet.engines import EngineOptions, Job, Weights, create

from tests.helpers.golden_weights import Floats, draw, images

SPEC = NetworkSpec(PNASNET5, 3, 8, (32, 32), 5, stem="cifar")
PLAN = resolve(SPEC)
DRAWN = {name: np.abs(draw(name, shape)) for name, shape in PLAN.variables().items()}


def start(folder: Path, *, warm: bool, **options: Any) -> Floats:
    """Start an engine and return its vectors; fail unless the weights are read exactly when they should be."""
    reads = []

    def read() -> Weights:
        reads.append(1)
        return DRAWN

    job: dict[str, Any] = {"weights_checksum": "abc"}
    job |= {name: options.pop(name) for name in ("weights_checksum", "outputs") if name in options}
    with create(Job(PLAN, read, EngineOptions("openvino", cache_dir=folder, **options), **job)) as engine:
        assert len(reads) == (0 if warm else 1)
        return engine.run(images(32))[engine.outputs[0]]


def entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_a_warm_start_reads_no_weights_and_returns_the_same_bits(tmp_path: Path) -> None:
    cold = start(tmp_path, warm=False)
    np.testing.assert_array_equal(start(tmp_path, warm=True), cold)
    np.testing.assert_allclose(start(tmp_path, warm=True, threads=1), cold, rtol=0, atol=1e-5 * cold.max())
    assert len(entries(tmp_path)) == 1


def test_an_engine_can_be_dropped_at_any_time(tmp_path: Path) -> None:
    """Its weights are mapped memory, which must outlive all readers."""
    cold = start(tmp_path, warm=False)
    for _ in range(3):
        engine = create(Job(PLAN, dict, EngineOptions("openvino", cache_dir=tmp_path), "abc"))
        result = engine.run(images(32))["global_pool"]
        del engine
        gc.collect()
        np.testing.assert_array_equal(result, cold)


@pytest.mark.parametrize("change", [{"weights_checksum": "abd"}, {"outputs": ["Logits"]}, {"precision": "bfloat16"}])
def test_each_network_has_its_own_entry(tmp_path: Path, change: dict[str, Any]) -> None:
    start(tmp_path, warm=False)
    start(tmp_path, warm=False, **change)
    start(tmp_path, warm=True)
    start(tmp_path, warm=True, **change)


def test_without_a_checksum_nothing_is_cached(tmp_path: Path) -> None:
    start(tmp_path, warm=False, weights_checksum=None)
    start(tmp_path, warm=False, weights_checksum=None)
    assert not entries(tmp_path)


def damage(content: bytes, how: str) -> bytes:
    match how:
        case "flipped":
            place = len(content) // 4  # among the weights, where OpenVINO does not notice
            return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        case "cut":
            return content[:-1000]
        case _:
            return b""


@pytest.mark.parametrize("how", ["flipped", "cut", "empty"])
def test_a_damaged_entry_is_compiled_again(tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture) -> None:
    cold = start(tmp_path, warm=False)
    (entry,) = entries(tmp_path)
    entry.write_bytes(damage(entry.read_bytes(), how))
    np.testing.assert_array_equal(start(tmp_path, warm=False), cold)
    assert len(caplog.messages) == 1
    assert "is unusable" in caplog.text
    np.testing.assert_array_equal(start(tmp_path, warm=True), cold)
    assert len(entries(tmp_path)) == 1


def test_an_entry_that_openvino_refuses_is_compiled_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    start(tmp_path, warm=False)
    (entry,) = entries(tmp_path)
    other = b"not a compiled model" * 100
    key = entry.name.split("-")[0]
    entry.unlink()
    entry.with_name(f"{key}-{zlib.crc32(other):08x}.blob").write_bytes(other)
    start(tmp_path, warm=False)
    assert "is unusable" in caplog.text
    start(tmp_path, warm=True)


@pytest.mark.parametrize("kind", [TypeError, RuntimeError, ValueError, MemoryError])
def test_an_entry_that_cannot_be_loaded_is_compiled_again(
    tmp_path: Path, kind: type[Exception], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With OpenVINO 2025.1 to 2025.3 `import_model` raised a TypeError, which ended the second run of every command."""
    cold = start(tmp_path, warm=False)

    def refuse(core: object, *arguments: object) -> None:
        raise kind("incompatible function arguments")

    with monkeypatch.context() as patch:
        patch.setattr("openvino.Core.import_model", refuse)
        np.testing.assert_array_equal(start(tmp_path, warm=False), cold)
    assert "incompatible function arguments" in caplog.text
    np.testing.assert_array_equal(start(tmp_path, warm=True), cold)


def test_a_cache_that_cannot_be_written_is_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    with caplog.at_level(logging.WARNING):
        start(tmp_path / "file" / "cache", warm=False)
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("the compiled model is not cached: cannot write ")


def test_a_full_disk_is_one_warning_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fill(self: Path, data: memoryview) -> int:
        with self.open("wb") as file:
            file.write(data[:1000])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill)
    start(tmp_path, warm=False)
    assert ["No space left on device" in message for message in caplog.messages] == [True]
    assert not entries(tmp_path)


WARM_START = """
import json, sys
from pathlib import Path
import numpy as np
from pnasnet.engines import EngineOptions, Job, create
from pnasnet.architecture.plan import resolve
from pnasnet.architecture.spec import NetworkSpec
plan = resolve(NetworkSpec.from_dict(json.loads(sys.argv[2])))
options = EngineOptions(device="CPU", cache_dir=Path(sys.argv[1]))
engine = create(Job(plan, lambda: 1 / 0, options, "abc"))
engine.run(np.zeros((1, 32, 32, 3), np.float32))
print(sorted({"onnx", "torch", "google.protobuf"} & set(sys.modules)))
"""


def test_a_warm_start_imports_neither_onnx_nor_torch(tmp_path: Path) -> None:
    start(tmp_path, warm=False)
    command = [sys.executable, "-c", WARM_START, str(tmp_path), json.dumps(SPEC.to_dict())]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    assert result.stdout.strip() == "[]"
