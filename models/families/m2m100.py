"""M2M100 and NLLB → our Transformer: pre-norm, sinusoidal positions, a token for each language.

Sources: Fan et al. 2020, "Beyond English-Centric Multilingual Machine Translation"; NLLB Team 2022,
"No Language Left Behind".
"""

from collections.abc import Mapping
from pathlib import Path

from models.architectures.transformer import Config
from models.checkpoint import BadCheckpoint
from models.families import Place, _bart, _generation
from models.imported import Folder
from service.directions import Source, Target

MODEL_TYPES = ("m2m_100",)
TASK = "translation"
ARCHITECTURE = "transformer"
UNUSED = _bart.UNUSED
SPECIAL = "special_tokens_map.json"


def config(folder: Folder) -> Config:
    return _bart.config(folder)


def places(folder: Folder, config: Config) -> Mapping[str, Place]:
    """Positions are counted from the one behind the padding id."""
    start = int(folder.config["pad_token_id"]) + 1
    table = _bart.sinusoid(config.max_len, config.width, slowest=config.width // 2 - 1, start=start)
    return _bart.places(folder, config) | _bart.both_positions(table)


def _numbered(folder: Folder) -> dict[str, int]:
    """M2M100: the languages stand behind the table of pieces, in the order of their tokens."""
    said, count = folder.json(SPECIAL), len(folder.json("vocab.json"))
    tokens = [str(token) for token in said.get("additional_special_tokens") or []]
    if not tokens:
        raise BadCheckpoint(f"{folder.path / SPECIAL} names no languages")
    return {token.strip("_"): count + number for number, token in enumerate(tokens)}


def assets(folder: Folder, into: Path) -> None:
    """NLLB has one `tokenizer.json`, M2M100 a SentencePiece model and the numbers of its pieces."""
    end = _generation.end(folder)
    if (folder.path / "sentencepiece.bpe.model").exists() and (folder.path / "vocab.json").exists():
        files = [("sentencepiece.bpe.model", "source.spm"), ("vocab.json", "vocab.json")]
        languages = _numbered(folder)
    else:
        files = [("tokenizer.json", "tokenizer.json")]
        languages = _bart.language_tokens(folder, "[a-z]{3}_[A-Z][a-z]{3}")
    _bart.write(
        folder,
        into,
        files,
        sources={code: Source(before=[id], after=[end]) for code, id in languages.items()},
        targets={
            code: Target(prompt=_generation.prompt(folder, id)) for code, id in languages.items()
        },
    )
