"""a sentence → the same sentence, said by a model that is not too sure of it."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from conftest import SENTENCES

from models.subword import train_subwords
from service.contract import Arrays, Tensor
from service.subwords import FromJson
from service.tasks import translation

DOUBTS = 97


def assets_in(folder: Path) -> translation.Assets:
    """A vocabulary of subwords and bytes."""
    path = folder / "tokenizer.json"
    train_subwords(SENTENCES, vocab=300, languages=("en", "de", "fr"), path=path)
    return translation.load_assets(folder)


class Parrot:
    """The source is its cache, so that a step can say the token at its position."""

    def __init__(self, assets: translation.Assets) -> None:
        self.assets = assets
        assert isinstance(assets.tokenizer, FromJson)
        self.vocab = assets.tokenizer.tokenizer.get_vocab_size()
        draw = np.random.default_rng(0)
        self.doubts = 2 * draw.standard_normal((DOUBTS, self.vocab)).astype(np.float32)
        self.step_s = 0.0
        self.rows: list[int] = []
        """Of each step."""

    def tensors(self, graph: str) -> dict[str, Tensor]:
        own = Tensor("float32", ("batch", 1, "max_len", 1))
        source = Tensor("float32", ("batch", 1, "src_len", 1))
        return {
            "past_key_0": own, "past_value_0": own, "cross_key_0": source, "cross_value_0": source,
            "logits": Tensor("float32", ("batch", self.vocab)),
        }  # fmt: skip

    def run(self, graph: str, inputs: Arrays) -> dict[str, np.ndarray]:
        said = inputs["source"][:, None, 1:, None].astype(np.float32)
        return {"cross_key_0": said, "cross_value_0": said.copy()}

    def bind(self, graph: str, inputs: Arrays, outputs: Arrays) -> Callable[[], None]:
        return partial(self.step, inputs, outputs)

    def step(self, inputs: Arrays, outputs: Arrays) -> None:
        time.sleep(self.step_s)
        tokens, positions = inputs["tokens"][:, 0], inputs["past_lengths"]
        self.rows.append(len(tokens))
        outputs["logits"][...] = self.doubts[(31 * tokens + positions) % DOUBTS]
        last = inputs["source_lengths"] - 2
        said = inputs["cross_key_0"][np.arange(len(tokens)), 0, np.minimum(positions, last), 0]
        outputs["logits"][np.arange(len(tokens)), said.astype(int)] += 6
