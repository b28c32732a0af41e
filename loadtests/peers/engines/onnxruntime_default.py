"""ONNX Runtime on what `torch.onnx.export` writes by itself."""

from loadtests.peers.peer import DEFAULT_ONNX, IMAGE, Job, Loaded, Peer

PACKAGES = ("onnxruntime",)
PEERS = (Peer("ONNX Runtime default fp32", "float32", (IMAGE,)),)


def load(job: Job) -> Loaded:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = job.threads
    session = ort.InferenceSession(
        str(job.folder / DEFAULT_ONNX), options, providers=["CPUExecutionProvider"]
    )
    settings = {"intra_op_num_threads": str(job.threads)}
    return Loaded(lambda inputs: session.run(["logits"], dict(inputs))[0], settings)
