"""requests → answers of LitServe: one worker, batches of what comes within its window."""

from typing import Any

import litserve

from loadtests.serving.peers.served import MAX_BATCH, WINDOW_S, Asked, Served, told


class Api(litserve.LitAPI):
    """Takes `{"content": TEXT}`."""

    def __init__(self, name: str, threads: int) -> None:
        super().__init__(max_batch_size=MAX_BATCH, batch_timeout=WINDOW_S, api_path=f"/{name}")
        self.name, self.threads = name, threads

    def setup(self, _: str) -> None:
        self.served = Served(self.name, threads=self.threads)

    def decode_request(self, request: dict[str, Any]) -> Asked:
        return self.served.read_text(request["content"])

    def batch(self, inputs: list[Asked]) -> list[Asked]:
        return inputs

    def predict(self, asked: list[Asked]) -> list[dict[str, Any]]:
        return self.served.answer(asked)

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return output

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return output


if __name__ == "__main__":
    args = told()
    server = litserve.LitServer(
        Api(args.task, args.threads), accelerator="cpu", workers_per_device=1
    )
    quiet = {"log_level": "error", "access_log": False}
    server.run(host="127.0.0.1", port=args.port, generate_client_file=False, **quiet)
