"""mBART and mBART-50 → our Transformer: BART with pre-norm layers and a token for each language.

Sources: Liu et al. 2020, "Multilingual Denoising Pre-training for Neural Machine Translation"; Tang
et al. 2020, "Multilingual Translation with Extensible Multilingual Pretraining and Finetuning".
"""

from pathlib import Path

from models.architectures.transformer import Config
from models.families import _bart, _generation, bart
from models.imported import Folder
from service.directions import Source, Target

MODEL_TYPES = ("mbart",)
TASK = "translation"
ARCHITECTURE = "transformer"
UNUSED = bart.UNUSED
places = bart.places


def config(folder: Folder) -> Config:
    return _bart.config(folder, embedding_norm=True)


def assets(folder: Folder, into: Path) -> None:
    """The language stands behind the source in mBART, before it in mBART-50.

    mBART starts its decoder with the language, mBART-50 with a token of its own before that.
    """
    end, languages = _generation.end(folder), _bart.language_tokens(folder, "[a-z]{2}_[A-Z]{2}")
    said, start = folder.generation, int(folder.generation["decoder_start_token_id"])
    fifty = "50" in str(folder.json("tokenizer_config.json").get("tokenizer_class"))
    only = None if fifty or start not in languages.values() else start
    _bart.write(
        folder,
        into,
        sources={
            code: Source(before=[id], after=[end]) if fifty else Source(after=[end, id])
            for code, id in languages.items()
        },
        targets={
            code: Target(prompt=_generation.prompt(folder, id) if fifty else [id])
            for code, id in languages.items()
            # Trained for one target: its language is where the decoder starts.
            if only in (None, id) and (fifty or said.get("forced_bos_token_id") in (None, id))
        },
    )
