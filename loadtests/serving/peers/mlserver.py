"""requests → answers of MLServer: its adaptive batching, its one inference worker."""

import asyncio
import json
import socket

from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import StringCodec
from mlserver.settings import ModelParameters
from mlserver.types import InferenceRequest, InferenceResponse

from loadtests.serving.peers.served import MAX_BATCH, WINDOW_S, Served, told


class Model(MLModel):
    """Takes and gives one BYTES tensor of the Open Inference Protocol, [batch, 1]."""

    async def load(self) -> bool:
        self.served = Served(self.name, threads=self.settings.parameters.extra["threads"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        asked = [
            self.served.read_text(text) for text in StringCodec.decode_input(payload.inputs[0])
        ]
        texts = [json.dumps(answer) for answer in self.served.answer(asked)]
        output = StringCodec.encode_output("answer", texts)
        return InferenceResponse(model_name=self.name, outputs=[output])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def serve(name: str, *, port: int, threads: int) -> None:
    settings = Settings(
        host="127.0.0.1",
        http_port=port,
        grpc_port=free_port(),
        metrics_port=free_port(),
        debug=False,
    )
    model = ModelSettings(
        name=name,
        implementation=Model,
        max_batch_size=MAX_BATCH,
        max_batch_time=WINDOW_S,
        parameters=ModelParameters(extra={"threads": threads}),
    )
    await MLServer(settings).start([model])


if __name__ == "__main__":
    args = told()
    asyncio.run(serve(args.task, port=args.port, threads=args.threads))
