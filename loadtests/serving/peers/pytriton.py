"""requests → answers of PyTriton: Triton's dynamic batching before a Python function."""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from loadtests.serving.peers.served import MAX_BATCH, WINDOW_S, Served, told

MICRO = 1_000_000


def main() -> None:
    """Takes and gives one BYTES tensor, [batch, 1]."""
    args = told()
    served = Served(args.task, threads=args.threads)

    @batch
    def infer(content: NDArray[Any]) -> dict[str, NDArray[Any]]:
        asked = [served.read_text(text.decode()) for text in content[:, 0]]
        texts = [json.dumps(answer).encode() for answer in served.answer(asked)]
        return {"answer": np.array(texts, object)[:, None]}

    config = TritonConfig(
        http_address="127.0.0.1", http_port=args.port, allow_grpc=False, allow_metrics=False
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name=args.task,
            infer_func=infer,
            inputs=[Tensor(name="content", dtype=bytes, shape=(1,))],
            outputs=[Tensor(name="answer", dtype=bytes, shape=(1,))],
            config=ModelConfig(
                max_batch_size=MAX_BATCH,
                batcher=DynamicBatcher(max_queue_delay_microseconds=int(WINDOW_S * MICRO)),
            ),
        )
        triton.serve()


if __name__ == "__main__":
    main()
