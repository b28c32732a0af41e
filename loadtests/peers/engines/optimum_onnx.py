"""Optimum ONNX: the checkpoint as its own export makes it, ONNX Runtime behind `generate`."""

from loadtests.peers import generate, m2m100
from loadtests.peers.peer import HUGGING_FACE, SPEECH, TRANSLATION, Job, Loaded, Peer

PACKAGES = ("optimum-onnx", "onnxruntime", "transformers", "torch")
PEERS = (Peer("Optimum ONNX fp32", "float32", (TRANSLATION, SPEECH), "peers-optimum-onnx"),)


def load(job: Job) -> Loaded:
    import onnxruntime as ort
    import torch
    from optimum.onnxruntime import ORTModelForSeq2SeqLM, ORTModelForSpeechSeq2Seq

    m2m100.count_from_zero()
    torch.set_num_threads(job.threads)
    options = ort.SessionOptions()
    options.intra_op_num_threads = job.threads
    made = ORTModelForSeq2SeqLM if job.kind == TRANSLATION else ORTModelForSpeechSeq2Seq
    folder = job.folder / "optimum-onnx"
    if not (folder / "config.json").exists():
        made.from_pretrained(job.folder / HUGGING_FACE, export=True).save_pretrained(folder)
    model = made.from_pretrained(folder, session_options=options)
    settings = {"intra_op_num_threads": str(job.threads)}
    if job.kind == TRANSLATION:
        return Loaded(generate.translation(model, job), settings)
    return Loaded(generate.speech(model, job), settings)
