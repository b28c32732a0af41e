"""a translation checkpoint → token ids, logits and translations of ours beside the library's."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from export.agreement import Agreement, Disagreement, difference, same
from models.architectures.transformer import Config, Transformer, graphs
from models.reference import Reference
from service.directions import Directions
from service.tasks import Item, Row
from service.tasks import translation as task

GRID = ((1, 1, 1), (3, 11, 7), (2, 40, 23))
"""Rows, source tokens, target tokens; of the rows only the first is full."""
SENTENCES = ("I like to read books.", "Where is the library? – 3 × 4 = 12", "Häuser, naïve: é")
MOST_PAIRS = 3
NEW_TOKENS = 12
BEAMS = 4
GREEDY, SEARCHED = "greedy translations", "beam searches"
LEFT_OUT = "beam searches that the library did not end"


@dataclass(frozen=True)
class Search:
    """A sentence, and what the library makes of it."""

    what: str
    item: Item
    """With `beam_size`."""
    found: Sequence[Sequence[int]]
    """Its hypotheses, the best first."""


def compare(folder: Path, model: Transformer, assets: Path) -> Agreement:
    """Raises `Disagreement`, also where no beam search could be compared."""
    ours = task.load_assets(assets)
    end = ours.directions.end
    batches, searches = _asked(folder, model.config, ours)
    worst = 0.0
    with torch.inference_mode():
        for source, lengths, target, theirs in batches:
            mine = model(source, lengths, target).numpy()
            worst = max(worst, difference(f"logits of {len(source)} rows", mine, theirs))
    rows = task.forward(Reference(graphs(model)), ours, [search.item for search in searches])
    counts = Counter(_same_answer(*both, end=end) for both in zip(searches, rows, strict=True))
    if not counts[SEARCHED]:
        raise Disagreement(f"of {counts[LEFT_OUT]} beam searches the library ended none")
    exact = dict.fromkeys(("token ids", "greedy and beam search"), 0.0)
    found = {"logits": worst} | exact
    return Agreement(found, {what: counts[what] for what in (GREEDY, SEARCHED, LEFT_OUT)})


def _asked(
    folder: Path, config: Config, ours: task.Assets
) -> tuple[list[tuple[torch.Tensor, ...]], list[Search]]:
    """The library's logits with what they are of, and its translations; raises `Disagreement` where
    it reads a sentence as other tokens than ours."""
    library = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    searches = []
    for source, target in islice(_pairs(ours.directions), MOST_PAIRS):
        items = [
            item
            for text in SENTENCES
            for item in task.preprocess(
                task.Request(text=text, source=source, target=target, max_new_tokens=NEW_TOKENS),
                ours,
            )
        ]
        texts = [sentence for text in SENTENCES for sentence in _sentences(text, source, ours)]
        _same_tokens(tokenizer, ours, items, texts, source=source, target=target)
        for beams in (1, BEAMS):
            what = f"{source}-{target}, beam size {beams}"
            for item in items:
                found = _found(library, item, beams, end=ours.directions.end)
                searches.append(Search(what, {**item, "beam_size": np.array(beams)}, found))
    return _logits(library, config, ours.directions), searches


def _pairs(directions: Directions) -> list[tuple[str, str]]:
    if directions.pairs is not None:
        return directions.pairs
    return [(a, b) for a in directions.sources for b in directions.targets if a != b][:MOST_PAIRS]


def _sentences(text: str, language: str, assets: task.Assets) -> list[str]:
    return [piece.strip() for piece in task.pieces(text, language, assets) if piece.strip()]


def _logits(library: Any, config: Config, directions: Directions) -> list[tuple[torch.Tensor, ...]]:
    """Source, its lengths, target and logits of every size."""
    found: list[tuple[torch.Tensor, ...]] = []
    generator = torch.Generator().manual_seed(0)
    special = {directions.end, library.config.pad_token_id}
    for rows, source_len, target_len in GRID:
        lengths = torch.tensor([max(1, source_len - 3 * row) for row in range(rows)])
        source = _tokens(config.source_vocab or config.vocab, rows, source_len, special, generator)
        target = _tokens(config.vocab, rows, target_len, special, generator)
        mask = torch.arange(source_len)[None, :] < lengths[:, None]
        source = source.masked_fill(~mask, library.config.pad_token_id)
        with torch.inference_mode():
            logits = library(
                input_ids=source, attention_mask=mask.long(), decoder_input_ids=target
            ).logits
        found.append((source, lengths, target, logits))
    return found


def _tokens(
    vocab: int, rows: int, length: int, special: set[int], generator: torch.Generator
) -> torch.Tensor:
    plain = torch.tensor([token for token in range(vocab) if token not in special])
    return plain[torch.randint(len(plain), (rows, length), generator=generator)]


def _same_tokens(
    tokenizer: Any,
    ours: task.Assets,
    items: list[Item],
    texts: list[str],
    *,
    source: str,
    target: str,
) -> None:
    """The ids of sentences, and what they are as a text again."""
    asking = tokenizer.decode(ours.directions.targets[target].before)
    if hasattr(tokenizer, "src_lang"):
        tokenizer.src_lang = source
    for item, text in zip(items, texts, strict=True):
        theirs = tokenizer(f"{asking} {text}".strip()).input_ids
        same(f"tokens of {text!r} from {source}", item["source"].tolist(), theirs)
        ids = ours.tokenizer.encode(text)
        decoded = tokenizer.decode(ids, skip_special_tokens=True).strip()
        same(f"text of {ids}", ours.tokenizer.decode(ids), decoded)


def _found(library: Any, item: Item, beams: int, *, end: int) -> list[list[int]]:
    """The hypotheses of the library, the best first."""
    prompt = item["prompt"].tolist()
    with torch.inference_mode():
        outs = library.generate(
            input_ids=torch.from_numpy(item["source"])[None],
            decoder_input_ids=torch.tensor([prompt]),
            num_beams=beams,
            num_return_sequences=beams,
            do_sample=False,
            max_new_tokens=NEW_TOKENS,
            length_penalty=1.0,
            early_stopping=False,
            no_repeat_ngram_size=0,
            repetition_penalty=1.0,
            forced_bos_token_id=None,
            forced_eos_token_id=None,
            renormalize_logits=True,
        )
    return [_cut(out.tolist()[len(prompt) :], end) for out in outs]


def _same_answer(search: Search, row: Row, *, end: int) -> str:
    """Compare the best hypothesis; returns what it counts as."""
    searched = int(search.item["beam_size"]) > 1
    # The library takes the best of all, we the best that has ended if any has.
    theirs = next((tokens for tokens in search.found if tokens[-1] == end), search.found[0])
    tokens = row["tokens"].tolist()
    mine = [*tokens, *([end] if int(row["scored"]) > len(tokens) else [])]
    if searched and mine[-1] == end != theirs[-1]:  # its beams that go on were better
        return LEFT_OUT
    same(search.what, mine, theirs)
    return SEARCHED if searched else GREEDY


def _cut(tokens: list[int], end: int) -> list[int]:
    """Without the padding behind the end."""
    return tokens[: tokens.index(end) + 1] if end in tokens else tokens
