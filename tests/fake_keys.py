"""a file of keys → every door over a real engine that asks for them, and keys of three callers."""

from pathlib import Path
from typing import Any

from fake_doors import Doors, with_doors

from service.access.keys import Keys
from service.compat.oip.pb import open_inference_pb2 as pb
from service.settings import Settings

INFER = frozenset({"infer"})
ADMIN = frozenset({"admin"})

INFERENCE = "/inference.GRPCInferenceService/"
SHOUT = pb.ModelInferRequest(
    model_name="shout",
    inputs=[
        {"name": "text", "datatype": "BYTES", "shape": [1], "contents": {"bytes_contents": [b"a"]}}
    ],
)


def asking_for_keys(scenario: Any, path: Path, **settings: Any) -> None:
    keys = Keys(path, create=True)
    infer, admin = keys.make("alice", INFER), keys.make("root", ADMIN)
    limited = keys.make("bob", INFER, per_minute=1)

    async def with_keys(doors: Doors) -> None:
        await scenario(doors, {"infer": infer, "admin": admin, "limited": limited})

    with_doors(with_keys, Settings(threads=1, keys_file=path, **settings))
    keys.close()


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}
