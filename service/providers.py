"""provider a manifest names → options of a session that runs on it, where it is installed."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal

import onnxruntime as ort

Provider = Literal["cpu", "openvino", "cuda"]
Precision = Literal["float32", "bfloat16", "float16"]
"""Of the products within a graph; what a task puts in and gets out is float32."""
NAMES: Mapping[Provider, str] = {
    "cpu": "CPUExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "cuda": "CUDAExecutionProvider",
}
"""What ONNX Runtime calls them."""


@cache
def openvino_devices() -> Sequence[Any]:
    """The CPU as OpenVINO's plugin sees it; empty where the package is not installed.

    The runtime takes a plugin's library once a process.
    """
    try:
        import onnxruntime_ep_openvino as plugin
    except ImportError:
        return ()
    ort.register_execution_provider_library("openvino", plugin.get_library_path())
    return tuple(
        device
        for device in ort.get_ep_devices()
        if device.ep_name == plugin.get_ep_name()
        and device.device.type == ort.OrtHardwareDeviceType.CPU
    )


@cache
def cuda_libraries() -> None:
    """Load the CUDA and cuDNN that were installed as packages; the system's stay where it has any.

    The loader looks for them in no package.
    """
    ort.preload_dlls()


def installed(provider: Provider) -> bool:
    if provider == "openvino":
        return bool(openvino_devices())
    return NAMES[provider] in ort.get_available_providers()


def use(
    options: ort.SessionOptions, provider: Provider, *, precision: Precision, threads: int
) -> Sequence[str] | None:
    """Have sessions of these options run on a provider that is installed.

    `threads` is the number of cores one run may use. Returns the providers that a session is to
    be given; None where it finds a plugin's devices in its options.
    """
    options.intra_op_num_threads = threads
    # Each session has threads of its own: those of one must not spin while another one runs.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if provider == "openvino":
        hint = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}[precision]
        config = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": str(threads)}
        options.add_provider_for_devices(
            openvino_devices(), {"load_config": json.dumps({"CPU": config})}
        )
        return None
    if provider == "cuda":
        cuda_libraries()
        return [NAMES["cuda"], NAMES["cpu"]]  # sizes are computed on the CPU
    return [NAMES["cpu"]]
