"""provider a manifest names → whether it can run here, and what ONNX Runtime calls it."""

from collections.abc import Mapping
from functools import cache
from typing import Literal

import onnxruntime as ort

Provider = Literal["cpu", "openvino", "cuda"]
"""OpenVINO runs graphs by its own API, ONNX Runtime the others."""
Precision = Literal["float32", "bfloat16", "float16"]
"""Of the products within a graph; what a task puts in and gets out is float32."""
NAMES: Mapping[Provider, str] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
"""What ONNX Runtime calls them."""


@cache
def openvino_here() -> bool:
    """Whether what is in requirements/openvino.txt is installed."""
    try:
        import openvino  # noqa: F401
    except ImportError:
        return False
    return True


def installed(provider: Provider) -> bool:
    if provider == "openvino":
        return openvino_here()
    return NAMES[provider] in ort.get_available_providers()
