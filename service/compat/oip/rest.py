"""REST of the protocol: paths under /v2, JSON with binary tensors behind it, gzip and deflate."""

import asyncio
from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.compat.oip import about, raw_body, repository
from service.compat.oip.infer import Asked, Inferred, infer, timeout_s
from service.compat.oip.models import Model, Models
from service.compat.oip.tensors import Given, datatype, json_of, raw_of
from service.compat.surface import Entrance, Handler, route
from service.compression import packed
from service.errors import MalformedRequest, NotFound, Unavailable, Unsupported
from service.http_call import Call
from service.json_body import from_json
from service.settings import Settings

HEADER_LENGTH = "inference-header-content-length"
UNSUPPORTED = (
    "/v2/trace/setting", "/v2/logging", "/v2/models/{model}/trace/setting",
    "/v2/systemsharedmemory/{rest:path}", "/v2/cudasharedmemory/{rest:path}",
)  # fmt: skip
Json = dict[str, Any]


def _object(content: bytes | memoryview, settings: Settings) -> Json:
    """The JSON object of a body, or an empty one of an empty body."""
    if not content:
        return {}
    try:
        value = from_json(bytes(content), settings.max_json_depth)
    except ValueError as error:
        raise MalformedRequest("the body is not JSON", "body") from error
    if not isinstance(value, dict):
        raise MalformedRequest("the body is not a JSON object", "body")
    return value


def _member(of: Json, name: str, kind: type, where: str) -> Any:
    value = of.get(name, kind())
    if type(value) is not kind:
        raise MalformedRequest(f"is not a JSON {kind.__name__}", f"{where}{name}")
    return value


def _parameters(of: Json, where: str = "") -> Json:
    found: Json = _member(of, "parameters", dict, where)
    for name, value in found.items():
        if not isinstance(value, str | bool | int | float):
            raise MalformedRequest(
                "is a string, a number or a bool", f"{where}parameters.{name[:64]}"
            )
    return found


def _header_length(request: Request, body: bytes) -> int:
    said = request.headers.get(HEADER_LENGTH)
    if said is None:
        return len(body)
    if not (said.isascii() and said.isdigit() and len(said) < 16 and int(said) <= len(body)):
        raise MalformedRequest(
            "is the number of bytes of the JSON at the body's start", HEADER_LENGTH
        )
    return int(said)


def asked_of(request: Request, model: Model, body: bytes, settings: Settings) -> tuple[Asked, bool]:
    """What was asked, and whether all outputs are to be binary where an output says nothing."""
    length = _header_length(request, body)
    if length == 0 and HEADER_LENGTH in request.headers:
        return raw_body.asked_of(model, body), True
    said, binary = _object(memoryview(body)[:length], settings), memoryview(body)[length:]
    inputs, at = [], 0
    for number, one in enumerate(_member(said, "inputs", list, "")):
        where = f"inputs.{number}."
        if not isinstance(one, dict):
            raise MalformedRequest("is not a JSON object", where[:-1])
        name, kind = _member(one, "name", str, where), _member(one, "datatype", str, where)
        shape, parameters = _member(one, "shape", list, where), _parameters(one, where)
        if "shared_memory_region" in parameters:
            raise Unsupported("shared memory is not supported", where[:-1])
        raw = None
        if "binary_data_size" in parameters:
            size = parameters["binary_data_size"]
            if type(size) is not int or not 0 <= size <= len(binary) - at:
                raise MalformedRequest("is more than came", f"{where}parameters.binary_data_size")
            if "data" in one:
                raise MalformedRequest("comes as binary or as data, not as both", where[:-1])
            raw, at = binary[at : at + size], at + size
        inputs.append(Given(name, kind, shape, one.get("data"), raw))
    if at != len(binary):
        raise MalformedRequest(f"{len(binary) - at} bytes belong to no input", "body")
    outputs = []
    for number, one in enumerate(_member(said, "outputs", list, "")):
        where = f"outputs.{number}."
        if not isinstance(one, dict):
            raise MalformedRequest("is not a JSON object", where[:-1])
        outputs.append((_member(one, "name", str, where), _parameters(one, where)))
    parameters = _parameters(said)
    asked = Asked(_member(said, "id", str, ""), parameters, inputs, outputs)
    return asked, parameters.get("binary_data_output") is True


def answer_of(asked: Asked, model: str, inferred: Inferred, *, all_binary: bool) -> Response:
    """JSON, and behind it what was asked for in bytes."""
    binary = {name for name, said in asked.outputs if said.get("binary_data", all_binary) is True}
    outputs, tail = [], []
    for name, array in inferred.outputs.items():
        output: Json = {"name": name, "datatype": datatype(array), "shape": list(array.shape)}
        if name in binary or (all_binary and not asked.outputs):
            tail.append(raw_of(array))
            output["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            output["data"] = json_of(array)
        outputs.append(output)
    body: Json = {"model_name": model, "model_version": inferred.version, "outputs": outputs}
    if asked.id:
        body["id"] = asked.id
    head = to_json(body, inf_nan_mode="null")
    if not tail:
        return Response(head, media_type="application/json")
    response = Response(b"".join((head, *tail)), media_type="application/octet-stream")
    response.headers[HEADER_LENGTH] = str(len(head))
    return response


def _compressed(request: Request, response: Response) -> Response:
    content, encoding = packed(bytes(response.body), request.headers.get("accept-encoding", ""))
    if encoding:
        response.body = content
        response.headers["content-length"] = str(len(content))
        response.headers["content-encoding"] = encoding
    return response


def _named(request: Request) -> tuple[str, str]:
    path: Mapping[str, str] = request.path_params
    return path["model"], path.get("version", "")


def routes(entrance: Entrance) -> list[Route]:
    """The paths of the protocol, that of inference first."""
    engine, models = entrance.engine, Models(entrance.engine)

    async def read(request: Request) -> Json:
        with entrance.gate:
            return _object(await Call(request, engine.settings).body(), engine.settings)

    async def inference(request: Request) -> Response:
        name, version = _named(request)
        with entrance.call(models.task(name).name, request) as call:
            found = await models.find(name, version)
            asked, all_binary = asked_of(request, found.model, await call.body(), engine.settings)
            waits_s = timeout_s(asked)
            if waits_s is not None:
                call.hurry(waits_s)
            inferred = await call.work(infer(engine, found, asked, **call.asked()))
            return _compressed(request, answer_of(asked, name, inferred, all_binary=all_binary))

    async def live(request: Request) -> Response:
        return JSONResponse({"live": True})

    async def ready(request: Request) -> Response:
        if not engine.ready():
            raise Unavailable("the server is not ready")
        return JSONResponse({"ready": True})

    async def server(request: Request) -> Response:
        return JSONResponse(about.SERVER)

    async def metadata(request: Request) -> Response:
        return JSONResponse(await about.metadata(models, *_named(request)))

    async def model_ready(request: Request) -> Response:
        name, version = _named(request)
        models.task(name)
        if not models.ready(name, version):
            raise Unavailable(f"{name} is not ready")
        return JSONResponse({"name": name, "ready": True})

    async def config(request: Request) -> Response:
        return JSONResponse(await about.config(models, *_named(request)))

    async def stats(request: Request) -> Response:
        named = _named(request) if "model" in request.path_params else ()
        counted = await asyncio.to_thread(about.stats, models, *named)
        return JSONResponse({"model_stats": counted})

    async def index(request: Request) -> Response:
        ready_only = _member(await read(request), "ready", bool, "")
        return JSONResponse(about.index(models, ready=ready_only))

    async def load(request: Request) -> Response:
        said = _parameters(await read(request))
        await repository.load(models, _named(request)[0], said)
        return JSONResponse({})

    async def unload(request: Request) -> Response:
        said = _parameters(await read(request))
        await repository.unload(models, _named(request)[0], said)
        return JSONResponse({})

    async def unsupported(request: Request) -> Response:
        raise Unsupported(f"{request.url.path} is not supported")

    async def unknown(request: Request) -> Response:
        raise NotFound("the protocol has no such path")

    def at(path: str, *methods: str, handler: Handler) -> Route:
        return route(entrance, path, dict.fromkeys(methods, handler))

    def of_model(path: str, method: str, handler: Handler) -> list[Route]:
        names = ("/v2/models/{model}", "/v2/models/{model}/versions/{version}")
        return [at(name + path, method, handler=handler) for name in names]

    return [
        *of_model("/infer", "POST", inference),
        at("/v2/health/live", "GET", handler=live),
        at("/v2/health/ready", "GET", handler=ready),
        at("/v2", "GET", handler=server),
        at("/v2/models/stats", "GET", handler=stats),
        *of_model("", "GET", metadata),
        *of_model("/ready", "GET", model_ready),
        *of_model("/config", "GET", config),
        *of_model("/stats", "GET", stats),
        at("/v2/repository/index", "POST", handler=index),
        at("/v2/repository/models/{model}/load", "POST", handler=load),
        at("/v2/repository/models/{model}/unload", "POST", handler=unload),
        *(at(path, "GET", "POST", handler=unsupported) for path in UNSUPPORTED),
        at("/v2/{rest:path}", "GET", "POST", "PUT", "PATCH", "DELETE", handler=unknown),
    ]
