"""automatic-speech-recognition: features, logits and tokens beside those of the library."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from export.agreement import Agreement, difference, same
from export.agreement.recordings import RATE_HZ, file_of, recordings
from models.architectures import wav2vec2, whisper
from models.reference import Reference
from service import kinds
from service.decoder import decode
from service.search import Search
from service.tasks import Item, task
from service.tasks.automatic_speech_recognition import Assets, Request, prompt_of

TASK = task("automatic-speech-recognition")
NEW_TOKENS = 12
LENGTHS = (1, 4, 9)
"""Of texts whose logits are compared."""


def compare(folder: Path, model: Any, assets: Path) -> Agreement:
    """Whisper is asked for tokens, a model with CTC for letters."""
    if isinstance(model, whisper.Whisper):
        return _compare_whisper(folder, model, assets)
    return _compare_ctc(folder, model, assets)


def _compare_whisper(folder: Path, model: whisper.Whisper, path: Path) -> Agreement:
    from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration

    extractor = WhisperFeatureExtractor.from_pretrained(folder)
    theirs = WhisperForConditionalGeneration.from_pretrained(folder).eval()
    assets: Assets = TASK.load_assets(path)
    found = {"features": 0.0, "logits": 0.0, "tokens": 0.0}
    request = Request(audio=b"x", language="en")
    items = []
    for clip in recordings():
        asked = request.model_copy(update={"audio": file_of(clip)})
        (item,) = TASK.preprocess(asked, assets)
        wanted = extractor(clip, sampling_rate=RATE_HZ, return_tensors="np").input_features[0]
        share = difference("mel frames", item["features"], wanted)
        found["features"] = max(found["features"], share)
        items.append(item)
    heard = torch.from_numpy(np.stack([item["features"] for item in items]))
    targets = []
    for batch, length in zip((1, 2, len(items)), LENGTHS, strict=True):
        torch.manual_seed(length)
        targets.append(torch.randint(model.config.vocab, (batch, length)))
    never = {assets.no_timestamps, assets.no_speech, *assets.suppressed.tolist()}
    never |= set(range(assets.first_timestamp, model.config.vocab))
    with torch.inference_mode():
        logits = [theirs(heard[: len(t)], decoder_input_ids=t).logits for t in targets]
        said = [
            theirs.generate(
                features[None],
                decoder_input_ids=torch.tensor([prompt_of(request, assets)]),
                suppress_tokens=sorted(never),
                begin_suppress_tokens=assets.suppressed_first.tolist(),
                max_new_tokens=NEW_TOKENS,
                do_sample=False,
                num_beams=1,
            )[0].tolist()
            for features in heard
        ]
        del theirs
        for target, wanted in zip(targets, logits, strict=True):
            share = difference("logits", model(heard[: len(target)], target), wanted)
            found["logits"] = max(found["logits"], share)
    for number, (ours, tokens) in enumerate(zip(_tokens(model, items, assets), said, strict=True)):
        text = [token for token in tokens if token < assets.end]
        same(f"tokens of recording {number}", ours, text)
    return Agreement(found)


def _tokens(model: whisper.Whisper, items: Sequence[Item], assets: Assets) -> list[list[int]]:
    """What is said greedily, by the loop that serves."""
    runner: Any = Reference(whisper.graphs(model))
    prompt = items[0]["prompt"].tolist()
    searches = [Search(prompt, assets.end, NEW_TOKENS, rule=assets.rule(prompt, [])) for _ in items]
    features = np.stack([item["features"] for item in items])
    encoded = runner.run("encoder", {"features": features})
    return [hypotheses[0].tokens for hypotheses in decode(runner, encoded, searches)]


def _compare_ctc(folder: Path, model: Any, path: Path) -> Agreement:
    import transformers

    extractor = transformers.Wav2Vec2FeatureExtractor.from_pretrained(folder)
    tokenizer = transformers.Wav2Vec2CTCTokenizer.from_pretrained(folder)
    name = transformers.AutoConfig.from_pretrained(folder).architectures[0]
    theirs = getattr(transformers, name).from_pretrained(folder).eval()
    ours = kinds.task_of(TASK, ["ctc"])
    assets = ours.load_assets(path)
    found = {"features": 0.0, "logits": 0.0, "texts": 0.0}
    clips = recordings()
    inputs = [
        extractor(clip, sampling_rate=RATE_HZ, return_tensors="pt")["input_values"]
        for clip in clips
    ]
    with torch.inference_mode():
        logits = [theirs(given).logits[0] for given in inputs]
    del theirs
    items = [ours.preprocess(Request(audio=file_of(clip)), assets)[0] for clip in clips]
    runner: Any = Reference(wav2vec2.graphs(model))
    rows = ours.forward(runner, assets, items)
    compared = zip(inputs, logits, items, rows, strict=True)
    for number, (given, wanted, item, row) in enumerate(compared):
        share = difference("samples", item["samples"], given[0])
        found["features"] = max(found["features"], share)
        with torch.inference_mode():
            alone, _ = runner.graphs["ctc"].module(given, torch.tensor([given.shape[1]]))
        found["logits"] = max(found["logits"], difference("logits", alone[0], wanted))
        # Ours was one of a padded batch.
        same(f"letters of recording {number}", row["classes"].tolist(), wanted.argmax(-1).tolist())
        said = tokenizer.decode(wanted.argmax(-1), skip_special_tokens=True)
        text = assets.text(row["classes"].tolist())
        same(f"text of recording {number}", text, " ".join(said.split()))
    return Agreement(found)
