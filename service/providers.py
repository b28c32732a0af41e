"""provider a manifest names → options of a session that runs on it, where it is installed."""

import json
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

import onnxruntime as ort

Provider = Literal["cpu", "openvino"]
Precision = Literal["float32", "bfloat16"]
"""Of the products within a graph; what goes in and comes out is float32."""


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


def installed(provider: Provider) -> bool:
    return provider == "cpu" or bool(openvino_devices())


def use(
    options: ort.SessionOptions, provider: Provider, *, precision: Precision, threads: int
) -> None:
    """Have sessions of these options run on a provider that is installed.

    `threads` is the number of cores one run may use.
    """
    options.intra_op_num_threads = threads
    if provider == "openvino":
        hint = {"float32": "f32", "bfloat16": "bf16"}[precision]
        config = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": str(threads)}
        options.add_provider_for_devices(
            openvino_devices(), {"load_config": json.dumps({"CPU": config})}
        )
