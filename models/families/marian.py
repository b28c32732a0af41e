"""MarianMT (OPUS-MT) → our Transformer: post-norm, positions of its own, two SentencePiece models.

Source: Junczys-Dowmunt et al. 2018, "Marian: Fast Neural Machine Translation in C++".
"""

from collections.abc import Mapping
from pathlib import Path

from models.architectures.transformer import Config
from models.families import Place, _bart, _generation, same
from models.imported import Folder
from service.directions import Source, Target

MODEL_TYPES = ("marian",)
TASK = "translation"
ARCHITECTURE = "transformer"
UNUSED = _bart.UNUSED


def config(folder: Folder) -> Config:
    said = folder.config
    shared = said.get("share_encoder_decoder_embeddings", True)
    return _bart.config(
        folder,
        norm_first=False,
        vocab=said["vocab_size"] if shared else said["decoder_vocab_size"],
        source_vocab=None if shared else said["vocab_size"],
    )


def places(folder: Folder, config: Config) -> Mapping[str, Place]:
    table = _bart.sinusoid(config.max_len, config.width, slowest=config.width // 2)
    found = _bart.places(folder, config) | _bart.both_positions(table)
    if config.source_vocab:
        found["embedding.weight"] = same("model.decoder.embed_tokens.weight")
        found["source_embedding.weight"] = same("model.encoder.embed_tokens.weight")
    return found


def assets(folder: Folder, into: Path) -> None:
    """Both SentencePiece models and the numbers of their pieces.

    A model of many target languages names them by tokens like `>>deu<<` before the source.
    """
    said, ids = folder.json("tokenizer_config.json"), folder.json("vocab.json")
    source = _bart.option(folder, "source_lang", said.get("source_lang"))
    end, prompt = _generation.end(folder), _generation.prompt(folder)
    named = {piece[2:-2]: id for piece, id in ids.items() if piece.startswith(">>")}
    targets = {code: Target(before=[id], prompt=prompt) for code, id in named.items()}
    if not targets:
        target = _bart.option(folder, "target_lang", said.get("target_lang"))
        targets = {target: Target(prompt=prompt)}
    files = [(name, name) for name in ("source.spm", "target.spm", "vocab.json")]
    if said.get("separate_vocabs"):
        files.append(("target_vocab.json", "target_vocab.json"))
    sources = {source: Source(after=[end])}
    _bart.write(folder, into, files, sources=sources, targets=targets)
