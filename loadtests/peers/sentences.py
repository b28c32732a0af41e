"""a translation model → its weights for every peer, source tokens, and the tokens it gives."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from tokenizers import Tokenizer

from export import imported, published
from export.model import round_to_float16
from export.source import Trained
from loadtests.peers import hugging_face, lowered, opus_mt
from loadtests.peers.engines.attendant import greedy
from loadtests.peers.peer import ATTENDANT, HUGGING_FACE, INPUTS, JOB, REFERENCE, TRANSLATION
from models.architectures import transformer
from models.catalogue import architecture
from models.datasets import tatoeba
from models.origin import locate
from models.reference import Reference
from models.subword import END, PAD
from service.manifest import SHIPPED

SEED = 0
ROWS = 64
NEW_TOKENS = 32
SOURCE_TOKENS = 25
NEAR_TOKENS = 2
"""How far real sentences may be from that."""
MARIAN = transformer.Config(
    vocab=58_101,
    width=512,
    heads=8,
    hidden=2_048,
    encoder_layers=6,
    decoder_layers=6,
    dropout=0.0,
)
TOKENS = {"pad": 0, "end": 1, "start": 2}


def prepare_marian(folder: Path, _: Path) -> None:
    """The shape of OPUS-MT models; no data are asked for."""
    torch.manual_seed(SEED)
    model = transformer.build(MARIAN).eval()
    source = np.random.default_rng(SEED).integers(
        len(TOKENS) + 1, MARIAN.vocab, (ROWS, SOURCE_TOKENS)
    )
    _prepare(folder, model, list(source), tokens=TOKENS)


def prepare_imported(folder: Path, _: Path) -> None:
    """The same shape as people have it: a checkpoint of MarianMT, imported."""
    opus_mt.main(folder / HUGGING_FACE)
    source = np.random.default_rng(SEED).integers(2, opus_mt.PAD, (ROWS, SOURCE_TOKENS))
    tokens = {"pad": opus_mt.PAD, "end": opus_mt.END, "start": opus_mt.PAD}
    with TemporaryDirectory() as assets:
        trained = imported.read(locate(str(folder / HUGGING_FACE)), Path(assets))
        _write(folder, trained, list(source), tokens=tokens)


def prepare_shipped(folder: Path, data_dir: Path) -> None:
    """German and French sentences of the test split, about as long as asked for, into English."""
    _, model = published.module(SHIPPED / "translation")
    assert isinstance(model, transformer.Transformer)
    tokenizer = Tokenizer.from_file(str(SHIPPED / "translation" / "tokenizer.json"))
    ids = tokenizer.get_vocab()
    tokens = {"pad": ids[PAD], "end": ids[END], "start": ids["<en>"]}
    directions = tatoeba.read_pairs(data_dir, "test")
    texts = [text for source in ("de", "fr") for text, _ in directions[source, "en"]]
    encoded = tokenizer.encode_batch(list(dict.fromkeys(texts)))
    rows = [np.array([tokens["start"], *each.ids, tokens["end"]]) for each in encoded]
    rows.sort(key=lambda row: abs(len(row) - SOURCE_TOKENS))
    chosen = [row for row in rows[:ROWS] if abs(len(row) - SOURCE_TOKENS) <= NEAR_TOKENS]
    if len(chosen) < ROWS:
        raise ValueError(f"{len(chosen)} sentences of about {SOURCE_TOKENS} tokens, not {ROWS}")
    order = np.random.default_rng(SEED).permutation(ROWS)
    _prepare(folder, model, [chosen[row] for row in order], tokens=tokens)


def _prepare(
    folder: Path,
    model: transformer.Transformer,
    rows: list[NDArray[np.int64]],
    *,
    tokens: dict[str, int],
) -> None:
    Console().print("  the checkpoint for other engines")
    round_to_float16(model)
    hugging_face.write_transformer(model, folder / HUGGING_FACE, **tokens)
    _write(folder, lowered.alone(architecture("transformer"), model), rows, tokens=tokens)


def _write(
    folder: Path, trained: Trained, rows: list[NDArray[np.int64]], *, tokens: dict[str, int]
) -> None:
    """Attendant's exports, the inputs and what torch makes of them."""
    console, model = Console(), trained.model
    assert isinstance(model, transformer.Transformer)
    lengths = np.array([len(row) for row in rows])
    source = np.full((ROWS, lengths.max()), tokens["pad"])
    for into, row in zip(source, rows, strict=True):
        into[: len(row)] = row
    console.print("  Attendant's exports")
    inputs = {"source": source, "source_lengths": lengths}
    facts = {"kind": TRANSLATION, "new_tokens": NEW_TOKENS, "vocab": model.config.vocab, **tokens}
    lowered.write(trained, folder / ATTENDANT, answer=lambda runner: greedy(runner, inputs, facts))
    console.print("  the tokens that torch gives")
    reference = greedy(Reference(transformer.graphs(model)), inputs, facts)
    np.savez(folder / INPUTS, allow_pickle=False, **inputs)
    np.save(folder / REFERENCE, reference)
    (folder / JOB).write_text(json.dumps(facts, indent=1))
