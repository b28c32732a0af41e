"""locust -f loadtests/locustfile.py → the same callers in locust's own page, by hand.

The gRPC door is looked for on the REST door's machine, at `--grpc-port`.
"""

from argparse import ArgumentParser
from typing import Any
from urllib.parse import urlsplit

from locust import events
from locust.env import Environment

from loadtests.grpc_user import GrpcUser
from loadtests.http_user import RestUser
from loadtests.scenarios import scenarios
from service.tasks import tasks


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--grpc-port", type=int, default=50051)


class Rest(RestUser):
    """A caller of the REST door."""

    scenarios = scenarios(tasks())


class Grpc(GrpcUser):
    """A caller of the gRPC door."""

    scenarios = Rest.scenarios

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        options: Any = environment.parsed_options
        self.host = f"{urlsplit(environment.host or '').hostname}:{options.grpc_port}"
