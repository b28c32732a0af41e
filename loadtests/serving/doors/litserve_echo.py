"""a port → LitServe with a model that does nothing."""

import sys

import litserve
from pydantic import BaseModel


class Request(BaseModel):
    text: str


class Echo(litserve.LitAPI):
    def setup(self, device: str) -> None:
        pass

    def decode_request(self, request: Request) -> str:
        return request.text

    def predict(self, text: str) -> str:
        return text

    def encode_response(self, text: str) -> dict[str, str]:
        return {"text": text}


if __name__ == "__main__":
    server = litserve.LitServer(Echo(api_path="/echo"), accelerator="cpu", workers_per_device=1)
    quiet = {"log_level": "error", "access_log": False}
    server.run(port=int(sys.argv[1]), generate_client_file=False, **quiet)
