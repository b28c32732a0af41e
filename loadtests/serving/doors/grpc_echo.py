"""a port → a bare grpc.aio server that gives a message back: what Python's gRPC can do at most."""

import asyncio
import sys
from typing import Any

import grpc
from google.protobuf.message_factory import GetMessageClass

from loadtests.serving.doors import noop


async def main(port: int) -> None:
    service = noop.service()
    method = service.methods_by_name["Echo"]
    reply = GetMessageClass(method.output_type)

    async def echo(request: Any, _context: Any) -> Any:
        return reply(text=request.text)

    handler = grpc.unary_unary_rpc_method_handler(
        echo, GetMessageClass(method.input_type).FromString, reply.SerializeToString
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service.full_name, {"Echo": handler}),)
    )
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
