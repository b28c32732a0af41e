"""torch.compile: inductor with frozen weights under autocast to bfloat16."""

from typing import Any

from numpy.typing import NDArray

from loadtests.peers.peer import IMAGE, Inputs, Job, Loaded, Peer

PACKAGES = ("torch",)
PEERS = (Peer("torch.compile bf16", "bfloat16", (IMAGE,), "develop"),)


def load(job: Job) -> Loaded:
    import torch
    import torch._inductor.config

    from models import checkpoint

    torch.set_num_threads(job.threads)
    torch._inductor.config.freezing = True
    _, model = checkpoint.load_model(job.folder)
    compiled = torch.compile(model, dynamic=False)

    def run(inputs: Inputs) -> NDArray[Any]:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            logits: NDArray[Any] = compiled(torch.from_numpy(inputs["pixels"])).float().numpy()
        return logits

    settings = {"freezing": "True", "dynamic": "False", "autocast": "bfloat16"}
    return Loaded(run, settings | {"torch.set_num_threads": str(job.threads)})
