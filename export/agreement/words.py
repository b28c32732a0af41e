"""an imported Whisper, recordings → its words beside the library's, and why any differ.

The library decodes as OpenAI's `decode` does by default: greedily, without timestamps, one window.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from whisper_normalizer.english import EnglishTextNormalizer

from export.refusal import Refusal
from models.datasets import Example
from models.evaluate import word_error_rate
from service import audio
from service.log_mel import RATE_HZ, WINDOW_S
from service.store import open_model
from service.tasks import task
from service.tasks.automatic_speech_recognition import MAX_NEW_TOKENS, Assets, Request

TASK = task("automatic-speech-recognition")
LARGEST_DIFFERENCE = 0.2
"""Points of word error rate between both."""
NEAR_TIE = 0.02
"""Of two logits: rounding may decide which is the larger."""


@dataclass(frozen=True)
class Heard:
    """One recording as both heard it."""

    name: str
    spoken: str
    """Its transcript; words are compared as Whisper's normaliser writes them."""
    ours: str
    theirs: str
    margin: float | None
    """Where the tokens part: the library's logit of its own over that of ours."""
    parting: str = ""
    """Both tokens at that place."""

    @property
    def near_tie(self) -> bool:
        return self.margin is None or self.margin <= NEAR_TIE


def listen(given: Path, published: Path, recordings: Iterable[Example]) -> Iterator[Heard]:
    """Ask the served graphs of `published` and the library's model in `given` alike."""
    from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration

    library: Any = WhisperForConditionalGeneration.from_pretrained(
        given, dtype=torch.float32
    ).eval()
    extractor = WhisperFeatureExtractor.from_pretrained(given)
    model, _ = open_model(published, TASK, threads=1)
    assets: Assets = TASK.load_assets(published)
    normal = EnglishTextNormalizer()
    spoken = {"language": "en", "task": "transcribe"} if assets.languages else {}
    for number, example in enumerate(recordings):
        assert isinstance(example.request, Request)
        request = example.request.model_copy(update={"language": "en"})
        items = TASK.preprocess(request, assets)
        rows = TASK.forward(model, assets, items)
        ours = [token for row in rows for token in row["tokens"].tolist()]
        samples = audio.decode(
            request.audio, field="audio", rate_hz=RATE_HZ, max_duration_s=WINDOW_S
        )
        features = extractor(samples, sampling_rate=RATE_HZ, return_tensors="pt").input_features
        with torch.inference_mode():
            out = library.generate(
                features,
                do_sample=False,
                num_beams=1,
                max_new_tokens=MAX_NEW_TOKENS,
                return_timestamps=False,
                **spoken,
            )[0]
        theirs = [token for token in out.tolist() if token < assets.end]
        texts = [assets.tokenizer.decode(tokens).strip() for tokens in (ours, theirs)]
        margin, parting = None, ""
        if ours != theirs:
            margin, parting = _parted(library, features, assets, ours, theirs)
        name = f"{example.group} {number + 1}"
        words = [normal(text) for text in (example.references[0], *texts)]
        yield Heard(name, words[0], words[1], words[2], margin, parting)


def _parted(
    library: Any, features: torch.Tensor, assets: Assets, ours: list[int], theirs: list[int]
) -> tuple[float, str]:
    """How sure the library was where the first token differs, and what both said there."""
    pairs = list(zip_longest(ours, theirs, fillvalue=assets.end))
    place = next(index for index, (mine, other) in enumerate(pairs) if mine != other)
    before = [*assets.prompt(language="en", task="transcribe"), *theirs[:place]]
    with torch.inference_mode():
        logits = library(features, decoder_input_ids=torch.tensor([before])).logits[0, -1]
    mine, other = pairs[place]
    names = [assets.tokenizer.id_to_token(token) for token in (mine, other)]
    return float(logits[other] - logits[mine]), f"token {place + 1}: {names[0]!r}, not {names[1]!r}"


def rates(heard: Sequence[Heard]) -> tuple[float, float]:
    """Word error rates of ours and of the library's, in percent."""
    spoken = [each.spoken for each in heard]
    return (
        word_error_rate([each.ours for each in heard], spoken),
        word_error_rate([each.theirs for each in heard], spoken),
    )


def report(heard: Sequence[Heard]) -> Iterator[str]:
    """Each recording whose tokens differ, with the reason; then what was asked and seen."""
    for each in heard:
        if each.margin is not None:
            words = "the same words" if each.ours == each.theirs else "other words"
            yield f"{each.name}: {words}; {each.parting}, by {each.margin:.3g}"
    same = sum(each.ours == each.theirs for each in heard)
    ours, theirs = rates(heard)
    yield f"recordings in the same words: {same} of {len(heard)}"
    yield (
        f"word error rate: {ours:.2f} %, the library's {theirs:.2f} %; "
        f"they may differ by {LARGEST_DIFFERENCE}"
    )


def check(heard: Sequence[Heard]) -> None:
    """Raises `Refusal` where words differ by more than rounding, or the error rates do."""
    apart = [
        f"{each.name}: {each.parting} by {each.margin:.3g}" for each in heard if not each.near_tie
    ]
    if apart:
        raise Refusal(f"tokens differ that are no near ties: {'; '.join(apart)}")
    ours, theirs = rates(heard)
    if not abs(np.subtract(ours, theirs)) <= LARGEST_DIFFERENCE:
        raise Refusal(
            f"word error rate {ours:.2f} instead of {theirs:.2f}; it may differ by "
            f"{LARGEST_DIFFERENCE}"
        )
