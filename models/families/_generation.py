"""what a checkpoint says of decoding → first, last and forbidden tokens, or a refusal.

How many hypotheses there are, when their search stops and what length is worth is for each request
to say; what sampling needs is for nobody.
"""

from typing import Any

from models.checkpoint import BadCheckpoint
from models.imported import GENERATION, Described, Folder

NEUTRAL: dict[str, tuple[Any, ...]] = {
    "begin_suppress_tokens": (None, []),
    "diversity_penalty": (None, 0.0),
    "encoder_no_repeat_ngram_size": (None, 0),
    "encoder_repetition_penalty": (None, 1.0),
    "exponential_decay_length_penalty": (None,),
    "force_words_ids": (None, []),
    "forced_decoder_ids": (None, []),
    "guidance_scale": (None, 1.0),
    "min_length": (None, 0),
    "min_new_tokens": (None, 0),
    "no_repeat_ngram_size": (None, 0),
    "num_beam_groups": (None, 1),
    "repetition_penalty": (None, 1.0),
    "sequence_bias": (None, []),
}
"""Fields that change what is decoded greedily or by beams → values with which they do not."""


def rules(folder: Folder, *, known: tuple[str, ...] = ()) -> Described:
    """What holds while decoding; raises `BadCheckpoint` with every field that is not honoured.

    Where there is a generation config the library heeds it alone, else the config. `known` are
    fields that the caller honours.
    """
    path = folder.path / GENERATION
    said = folder.json(GENERATION) if path.exists() else folder.config
    wrong = [
        f"{name} is {said[name]!r}"
        for name, neutral in NEUTRAL.items()
        if name not in known and said.get(name) not in neutral
    ]
    words = said.get("bad_words_ids") or []
    wrong += [f"bad_words_ids has {word}, more than a token" for word in words if len(word) != 1]
    last = said.get("forced_eos_token_id")
    if last is not None and last not in (ends := _ends(folder)):
        wrong.append(f"forced_eos_token_id is {last!r}, not of {ends}")
    if wrong:
        raise BadCheckpoint(f"{said.path}: {'; '.join(wrong)}: that is not decoded here")
    return said


def suppressed(folder: Folder) -> list[int]:
    """Single tokens that the checkpoint never generates."""
    said = rules(folder)
    words = [word[0] for word in said.get("bad_words_ids") or []]
    return sorted({*words, *(said.get("suppress_tokens") or [])})


def _ends(folder: Folder) -> list[int]:
    said = folder.generation["eos_token_id"]
    return [int(each) for each in (said if isinstance(said, list) else [said])]


def end(folder: Folder) -> int:
    """The token that ends a sentence; raises `BadCheckpoint` where there are several."""
    ends = _ends(folder)
    if len(ends) != 1:
        raise BadCheckpoint(f"{folder.path} has the end tokens {ends}; only one is known here")
    return ends[0]


def prompt(folder: Folder, language: int | None = None) -> list[int]:
    """First tokens of the decoder: its start, and what generation forces behind it."""
    forced = language if language is not None else rules(folder).get("forced_bos_token_id")
    start = int(folder.generation["decoder_start_token_id"])
    return [start, *([] if forced is None else [int(forced)])]
