"""`python -m deploy.ray.local`: one replica on a Ray of this machine alone, until stopped."""

from typing import Annotated, Any

import ray
import typer
from ray import serve
from ray.serve.config import ProxyLocation, gRPCOptions

from deploy.ray.app import deployed

OBJECTS_BYTES = 200 << 20


def main(
    http_port: int = 8000,
    grpc_port: int = 9000,
    task: Annotated[list[str] | None, typer.Option(help="Only these tasks.")] = None,
) -> None:
    """Serve on the loopback interface."""
    ray.init(include_dashboard=False, object_store_memory=OBJECTS_BYTES, log_to_driver=False)
    serve.start(
        proxy_location=ProxyLocation.HeadOnly,
        http_options={"host": "127.0.0.1", "port": http_port},
        grpc_options=gRPCOptions(
            port=grpc_port, grpc_servicer_functions=["deploy.ray.rpc.add_to_server"]
        ),
    )
    options: dict[str, Any] = {"max_ongoing_requests": 256, "ray_actor_options": {"num_cpus": 0.1}}
    serve.run(deployed(task or [], **options), name="attendant", blocking=True)


if __name__ == "__main__":
    typer.run(main)
