"""sentences → a subword vocabulary (`tokenizer.json`) that every language shares."""

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

PAD, END = "<pad>", "</s>"


def train_subwords(
    sentences: Iterable[str], *, vocab: int, languages: Iterable[str], path: Path
) -> dict[str, int]:
    """Learn byte-level BPE (Sennrich et al. 2016) and save it; returns its tokens with their ids.

    Bytes are the alphabet, so no text is unknown. Ids 0 and 1 are padding and end of sentence;
    then one token per language that names the language to translate into.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[PAD, END, *(f"<{language}>" for language in languages)],
        show_progress=False,
    )
    tokenizer.train_from_iterator(sentences, trainer)
    tokenizer.save(str(path))
    return tokenizer.get_vocab()
