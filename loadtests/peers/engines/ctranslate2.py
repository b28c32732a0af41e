"""CTranslate2: its converter is fed with the M2M100 that our Transformer is, or with a Marian."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from loadtests.peers import m2m100
from loadtests.peers.peer import HUGGING_FACE, TRANSLATION, Inputs, Job, Loaded, Peer, unpadded

if TYPE_CHECKING:
    from pathlib import Path

PACKAGES = ("ctranslate2",)
PEERS = (
    Peer("CTranslate2 fp32", "float32", (TRANSLATION,)),
    Peer("CTranslate2 int8", "int8", (TRANSLATION,)),
)


def converted(job: Job) -> "Path":
    """The checkpoint in CTranslate2's format; its vocabulary is the numbers of the tokens."""
    from ctranslate2.converters.transformers import M2M100Loader, MarianMTLoader
    from transformers import AutoModelForSeq2SeqLM

    folder = job.folder / "ctranslate2"
    if (folder / "model.bin").exists():
        return folder
    m2m100.count_from_zero()
    model = AutoModelForSeq2SeqLM.from_pretrained(job.folder / HUGGING_FACE).eval()
    end, start, pad = (str(job.facts[name]) for name in ("end", "start", "pad"))
    if model.config.model_type == "marian":
        spec = MarianMTLoader().get_model_spec(model)
        # It starts from nothing instead of from the padding, which is no token any more.
        start, pad = end, str(job.facts["end"] + 1)
    else:
        spec = M2M100Loader().get_model_spec(model)
        # The converter expects the padding id of M2M100 and would cut off one position too many.
        embedding = model.model.encoder.embed_positions
        table = embedding.weights[embedding.padding_idx + 1 :].numpy()
        for side in (spec.encoder, spec.decoder):
            side.position_encodings.encodings = table
    names = [str(token) for token in range(len(spec.decoder.embeddings.weight))]
    spec.register_source_vocabulary(names)
    spec.register_target_vocabulary(names)
    spec.config.bos_token, spec.config.eos_token = start, end
    spec.config.unk_token, spec.config.decoder_start_token = pad, start
    spec.config.add_source_bos = spec.config.add_source_eos = False
    spec.validate()
    spec.optimize()
    folder.mkdir(exist_ok=True)
    spec.save(str(folder))
    return folder


def load(job: Job) -> Loaded:
    import ctranslate2

    settings = {"compute_type": job.variant, "inter_threads": 1, "intra_threads": job.threads}
    translator = ctranslate2.Translator(str(converted(job)), device="cpu", **settings)
    wanted = job.facts["new_tokens"]

    def run(inputs: Inputs) -> NDArray[np.int64]:
        sources = [[str(token) for token in row] for row in unpadded(inputs)]
        results = translator.translate_batch(
            sources, beam_size=1, min_decoding_length=wanted, max_decoding_length=wanted
        )
        return np.array([[int(token) for token in each.hypotheses[0]] for each in results])

    return Loaded(run, {name: str(value) for name, value in settings.items()})
