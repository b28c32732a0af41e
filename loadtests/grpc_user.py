"""scenario → call of the gRPC door."""

from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from grpc.experimental.gevent import init_gevent

from loadtests.budgets import Door
from loadtests.scenarios import Scenario
from loadtests.user import TIMEOUT_S, DoorUser

init_gevent()  # else a call would block every other user; needs locust's patches, made above


class GrpcUser(DoorUser):
    """Keeps one connection of its own to `host`, which is host:port here."""

    abstract = True
    door = Door.GRPC

    def on_start(self) -> None:
        super().on_start()
        options = [("grpc.use_local_subchannel_pool", 1)]
        self.channel = grpc.insecure_channel(self.host, options=options)

    def on_stop(self) -> None:
        self.channel.close()

    def send(self, scenario: Scenario) -> Any:
        call: Callable[..., Message] = self.channel.unary_unary(
            scenario.method, response_deserializer=scenario.reply.FromString
        )
        return MessageToDict(call(scenario.message, timeout=TIMEOUT_S))
