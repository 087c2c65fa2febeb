"""OpenVINO as an engine, the fastest on CPUs: compiles our ONNX graph, and caches the compiled model."""

import io
import logging
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, MissingExtraError, UnknownNameError
from ..lowering.onnx_graph import GRAPH_VERSION, build
from ..support.paths import cache_dir
from ..support.system import has_int8_instructions
from ..support.text import counted
from .base import Engine, Floats, Job, library_errors
from .compiled_cache import CacheEntry
from .openvino_calls import infer, reason
from .signal_stack import kept_signal_stack

if TYPE_CHECKING:
    import openvino

log = logging.getLogger(__name__)

_HINTS = {"float32": "f32", "bfloat16": "bf16"}
_CAPABILITIES = "OPTIMIZATION_CAPABILITIES"


class OpenVINOEngine(Engine):
    """Runs on the CPU, or on another OpenVINO device.

    Raises `UnknownNameError` for an unknown device, `InputError` for float16, and `PnasnetError` if OpenVINO fails.
    """

    name = "openvino"

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        try:
            import openvino
        except ImportError as error:
            raise MissingExtraError(
                "this engine needs openvino, which is not installed: pip install openvino"
            ) from error
        with kept_signal_stack(), library_errors("OpenVINO", "load the network", reason):
            self._open(openvino.Core(), job)

    def _open(self, core: "openvino.Core", job: Job) -> None:
        device = _device(core, job.options.device)
        hint = _hint(core, device, job)
        compiled, mapped = _load(core, device, job, hint)
        self._request = compiled.create_infer_request()
        # OpenVINO keeps no reference to the mapped weights, so they must be released after the request.
        self._mapped = mapped
        self.description = _describe(core, device, compiled, is_int8=job.graph is not None)

    def _run(self, images: Floats) -> dict[str, Floats]:
        return infer(self._request, images, self.outputs)

    def _release(self) -> None:
        with kept_signal_stack():
            del self._request
            del self._mapped


def _device(core: "openvino.Core", wanted: str | None) -> str:
    device, known = (wanted or "CPU").upper(), list(core.available_devices)
    if device not in known:
        raise UnknownNameError.of("OpenVINO device", device, known)
    return device


def _hint(core: "openvino.Core", device: str, job: Job) -> str:
    """Return the precision of the layers that are not int8. Warn if the device lacks the instructions and is slow."""
    has_bfloat16 = _has_bfloat16(core, device)
    if job.graph is None:
        precision = job.options.precision or "float32"
        if precision not in _HINTS:
            raise InputError(f"the openvino engine has no {precision}: use {' or '.join(_HINTS)}, or the torch engine")
        if precision == "bfloat16" and not has_bfloat16:
            log.warning("this %s has no bfloat16 instructions: float32 is at least as fast, and more accurate", device)
        return precision
    if device == "CPU" and has_int8_instructions() is False:
        log.warning("this CPU has no int8 instructions (VNNI): a quantized model may be slower than float32 on it")
    if job.graph.floating == "bfloat16" and not has_bfloat16:
        log.warning(
            "this %s has no bfloat16 instructions: layers that are not quantized run in float32, slower", device
        )
        return "float32"
    return job.graph.floating


def _has_bfloat16(core: "openvino.Core", device: str) -> bool:
    return "BF16" in core.get_property(device, _CAPABILITIES)


def _load(core: "openvino.Core", device: str, job: Job, precision: str) -> tuple[Any, NDArray[np.uint8] | None]:
    """Return the compiled model, and the mapped file that holds its weights, if it came from the cache."""
    # Request float32: by default OpenVINO computes in bfloat16 if the CPU has it.
    config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": _HINTS[precision], "PERFORMANCE_HINT": "LATENCY"}
    if job.options.threads:
        config["INFERENCE_NUM_THREADS"] = job.options.threads
    entry = _cache_entry(core, device, job)
    if entry and (imported := _import(core, device, config, entry)):
        return imported
    compiled = core.compile_model(_read_model(core, job), device, config)
    if entry and "EXPORT_IMPORT" in core.get_property(device, _CAPABILITIES):
        stream = io.BytesIO()
        compiled.export_model(stream)
        entry.write(stream.getbuffer())
    return compiled, None


def _read_model(core: "openvino.Core", job: Job) -> Any:
    """Return an OpenVINO model of the outputs, built from the weights or cut out of the quantized graph."""
    if job.graph is None:
        return core.read_model(build(job.plan, job.read_weights(), job.outputs).SerializeToString(deterministic=True))
    import openvino

    whole = core.read_model(job.graph.path)
    results = [whole.output(name).node for name in job.outputs]
    return openvino.Model(results, whole.get_parameters(), "network")


def _cache_entry(core: "openvino.Core", device: str, job: Job) -> CacheEntry | None:
    if job.weights_checksum is None:
        return None
    import openvino

    return CacheEntry(
        (job.options.cache_dir or cache_dir()) / "compiled",
        weights=job.weights_checksum,
        network=job.plan.spec.to_dict(),
        outputs=job.outputs,
        precision=job.options.precision,
        device=[device, *(core.get_property(device, name) for name in ("FULL_DEVICE_NAME", _CAPABILITIES))],
        graph=GRAPH_VERSION,
        openvino=openvino.get_version(),
    )


def _import(
    core: "openvino.Core", device: str, config: dict[str, Any], entry: CacheEntry
) -> tuple[Any, NDArray[np.uint8]] | None:
    """Return the cached compiled model and its mapped file; None if it is missing or cannot be loaded."""
    import openvino

    content = entry.read()
    if content is None:
        return None
    try:
        return core.import_model(openvino.Tensor(content, shared_memory=True), device, config), content
    except Exception as error:  # an entry may be wrong in any way: compile again
        entry.discard(reason(error))
        return None


def _describe(core: "openvino.Core", device: str, compiled: Any, *, is_int8: bool) -> str:
    import openvino

    version = openvino.get_version().split("-")[0]
    precision = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    names = {hint: name for name, hint in _HINTS.items()}
    parts = [f"OpenVINO {version}", f"{device} ({core.get_property(device, 'FULL_DEVICE_NAME').strip()})"]
    floating = names.get(precision, precision)
    parts.append(f"int8 and {floating}" if is_int8 else floating)
    if device == "CPU":
        parts.append(counted(compiled.get_property("INFERENCE_NUM_THREADS"), "thread"))
    return ", ".join(parts)
