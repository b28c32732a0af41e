"""tritonclient 2.73 over gRPC with a key of scope admin: models are loaded, unloaded and listed.

Arguments: HTTP port, gRPC port, folder of examples, a key of scope infer, one of scope admin.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as triton

NAME = "image-classification"
client = triton.InferenceServerClient(f"127.0.0.1:{sys.argv[2]}")
user, admin = ({"authorization": f"Bearer {key}"} for key in sys.argv[4:6])
picture = np.array([(Path(sys.argv[3]) / "cat.jpg").read_bytes()], object)
given = triton.InferInput("image", [1], "BYTES")
given.set_data_from_numpy(picture)


def refused(ask: Callable[..., Any], *values: Any, **named: Any) -> str | None:
    try:
        ask(*values, **named)
    except triton.InferenceServerException as error:
        return str(error.status())
    return None


def states() -> dict[str, str]:
    index = client.get_model_repository_index(headers=admin)
    return {entry.name: entry.state for entry in index.models}


for ask in (client.load_model, client.unload_model):
    assert refused(ask, NAME) == "StatusCode.UNAUTHENTICATED"
    assert refused(ask, NAME, headers=user) == "StatusCode.PERMISSION_DENIED"
assert refused(client.get_model_repository_index, headers=user) == "StatusCode.PERMISSION_DENIED"
assert refused(client.infer, NAME, [given]) == "StatusCode.UNAUTHENTICATED"

assert states()[NAME] == "READY"
client.unload_model(NAME, headers=admin)
assert states()[NAME] == "UNAVAILABLE"
assert not client.is_model_ready(NAME, headers=user)
assert refused(client.infer, NAME, [given], headers=user) is not None
client.load_model(NAME, headers=admin)
assert states()[NAME] == "READY"
assert client.infer(NAME, [given], headers=user).as_numpy("label") is not None
assert refused(client.load_model, "none", headers=admin) == "StatusCode.NOT_FOUND"
assert refused(client.load_model, NAME, headers=admin, config="{}") == "StatusCode.INVALID_ARGUMENT"
client.close()
