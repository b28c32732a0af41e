"""what Ray Serve's HTTP proxy makes of a lost replica, nothing → 503 and when to come back.

The web server would make that 500, which clients take for a fault of the request. Named in the
environment of every node as RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH.
"""

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import Unavailable
from service.http_call import problem_response

LOST = "the replica that worked on this was lost; try again"


class Retriable:
    """Around the proxy, which returns without a response where it has lost the replica."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        await self._app(scope, receive, noted)
        if scope["type"] == "http" and not begun:
            response = problem_response(Unavailable(LOST), scope["path"])
            await response(scope, receive, send)


def middlewares() -> list[Middleware]:
    """What the proxy is to put around itself."""
    return [Middleware(Retriable)]
