"""a script of what is said → a Whisper that says it, with a tokenizer whose tokens are bytes."""

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from service.candidates import log_sum_exp
from service.contract import Arrays, Tensor
from service.tasks import Item
from service.tasks import automatic_speech_recognition as task

SPECIAL = (
    "endoftext", "startoftranscript", "en", "de", "transcribe", "translate", "startofprev",
    "nocaptions", "notimestamps",
)  # fmt: skip


def folder_of(path: Path) -> Path:
    """The assets of a model whose text tokens are single bytes."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: id for id, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([f"<|{name}|>" for name in SPECIAL])
    tokenizer.save(str(path / "tokenizer.json"))
    languages = [tokenizer.token_to_id(f"<|{name}|>") for name in ("en", "de")]
    config = {"suppress_ids": [0, 1], "suppress_ids_begin": [2], "lang_ids": languages}
    (path / "config.json").write_text(json.dumps(config))
    return path


class Scripted:
    """A runner that says what a script has for (window, frames heard before), and then ends."""

    def __init__(
        self, assets: task.Assets, script: dict[tuple[int, int], list[int]], silent: float = 0.0
    ) -> None:
        self.assets = assets
        self.script = script
        self.silent = silent
        self.step_s = 0.0
        self.said_before = 0
        self.batches: list[int] = []
        self.groups: list[int] = []
        """Into which what each batch hears is put; 0 where every position is encoded by itself."""
        self.passes: list[tuple[int, ...]] = []
        """Shapes of the tokens whose alignment was asked for."""
        self.second_choice: list[int] = []

    def tensors(self, graph: str) -> dict[str, Tensor]:
        assert graph == "decoder"
        cache = Tensor("float32", ("batch", 1, "max_len", 2))
        logits = Tensor("float32", ("batch", self.assets.first_timestamp + 1_501))
        return {"past_key_0": cache, "past_value_0": cache, "logits": logits}

    def run(self, graph: str, inputs: Arrays) -> dict[str, np.ndarray]:
        if graph == "alignment":
            return self.listen(inputs)
        assert graph == ("folded" if "begins" in inputs else "encoder")
        self.groups.append(len(inputs.get("begins", ())))
        self.batches.append(len(inputs["features"]))
        heard = inputs["features"][:, None, None, :2, 0]
        return {"cross_key_0": heard.copy(), "cross_value_0": heard.copy()}

    def listen(self, inputs: Arrays) -> dict[str, np.ndarray]:
        """Each position hears a tenth of a second of its own."""
        batch, positions = inputs["tokens"].shape
        self.passes.append((batch, positions))
        weights = np.full((batch, 1, positions, 1_500), 1e-6, np.float32)
        for position in range(positions):
            weights[:, :, position, 5 * position : 5 * position + 5] = 1
        return {"weights": weights}

    def bind(self, graph: str, inputs: Arrays, outputs: Arrays) -> Callable[[], None]:
        assert graph == "decoder"
        return partial(self.step, inputs, outputs)

    def step(self, inputs: Arrays, outputs: Arrays) -> None:
        time.sleep(self.step_s)
        self.say(inputs, outputs)
        if not inputs["past_lengths"].any():
            others = log_sum_exp(outputs["logits"])
            odds = max(self.silent / (1 - self.silent), 1e-9)
            outputs["logits"][:, self.assets.no_speech] = others + np.log(odds)

    def say(self, inputs: Arrays, outputs: Arrays) -> None:
        outputs["logits"][...] = 0
        for row, position, (window, heard) in zip(
            outputs["logits"],
            inputs["past_lengths"] - self.said_before,
            inputs["cross_key_0"][:, 0, 0].astype(int).tolist(),
            strict=True,
        ):
            choices = (self.second_choice, self.script[window, heard])
            for confidence, script in enumerate(choices, 1):
                said = [*script, *[self.assets.end] * 500]
                row[said[max(0, position)]] = 40 * confidence


def windows_of(*durations_s: float) -> list[Item]:
    """Windows whose features tell the scripted runner which they are and where they begin."""
    items = []
    for number, duration_s in enumerate(durations_s):
        features = np.zeros((80, 3_000), np.float32)
        features[0], features[1] = number, np.arange(3_000)
        start_s = sum(durations_s[:number])
        times = {"start_s": np.array(start_s), "end_s": np.array(start_s + duration_s)}
        items.append({"features": features, "prompt": np.array([257]), **times})
    return items


def said(assets: task.Assets, *parts: float | str) -> list[int]:
    """Times in seconds and texts → tokens."""
    tokens: list[int] = []
    for part in parts:
        if isinstance(part, str):
            tokens += assets.tokenizer.encode(part).ids
        else:
            tokens.append(assets.first_timestamp + round(part * 50))
    return tokens
