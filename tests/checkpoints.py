"""small random checkpoints of the library's own classes, as people have them in folders."""

import json
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from conftest import SENTENCES

PREFIX = "translate English to German: "
SIZES = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": 256,
}


def saved(model: Any, folder: Path) -> Path:
    """Random weights everywhere, biases and norms too, so that no wrong place goes unseen."""
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if "embed_positions" not in name and tensor.is_floating_point():
                tensor.add_(torch.randn_like(tensor) * 0.1)
    model.eval().save_pretrained(folder)
    return folder


def pieces(path: Path, vocab: int = 120) -> list[str]:
    """Train a SentencePiece model into `path`; returns its pieces."""
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES),
        model_prefix=str(path.with_suffix("")),
        vocab_size=vocab,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    path.with_suffix(".model").rename(path)
    path.with_suffix(".vocab").unlink()
    processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
    return [processor.id_to_piece(id) for id in range(processor.get_piece_size())]


def marian(folder: Path, **changes: Any) -> Path:
    """An OPUS-MT pair: two SentencePiece models, one table of their pieces."""
    from transformers import MarianConfig, MarianMTModel

    folder.mkdir(parents=True, exist_ok=True)
    found = [*pieces(folder / "source.spm", 90), *pieces(folder / "target.spm", 100)]
    names = ["</s>", "<unk>", *sorted({*found} - {"<s>", "</s>", "<unk>"}), "<pad>"]
    vocab = {name: number for number, name in enumerate(names)}
    pad = vocab["<pad>"]
    config = MarianConfig(
        **{
            **SIZES,
            "vocab_size": len(vocab),
            "pad_token_id": pad,
            "eos_token_id": 0,
            "decoder_start_token_id": pad,
            "forced_eos_token_id": 0,
            "bad_words_ids": [[pad]],
            "activation_function": "swish",
            "scale_embedding": True,
            **changes,
        },
    )
    (folder / "vocab.json").write_text(json.dumps(vocab))
    said = {"tokenizer_class": "MarianTokenizer", "source_lang": "en", "target_lang": "de"}
    (folder / "tokenizer_config.json").write_text(json.dumps(said))
    return saved(MarianMTModel(config), folder)


def fast_tokenizer(folder: Path, special: list[str], **said: str) -> dict[str, int]:
    """A Unigram `tokenizer.json` as T5, NLLB and mBART have it; returns token → id."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=150, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator([PREFIX, *SENTENCES], trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(said))
    vocab: dict[str, int] = tokenizer.get_vocab()
    return vocab


def byte_pairs(special: list[str]) -> Any:
    """The model of a BPE tokenizer, as its JSON has it."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=150, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return json.loads(tokenizer.to_str())["model"]


NAMES = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]


def fairseq(vocab: int, **changes: Any) -> dict[str, Any]:
    """What the configs of BART, mBART and M2M100 have in common."""
    return {
        **SIZES, "vocab_size": vocab, "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2,
        "decoder_start_token_id": 2, "forced_eos_token_id": 2, **changes,
    }  # fmt: skip


def nllb(folder: Path) -> Path:
    from transformers import M2M100Config, M2M100ForConditionalGeneration, NllbTokenizer

    model = byte_pairs(SPECIAL)
    # It puts a mask and all its 202 languages behind the pieces.
    tokenizer = NllbTokenizer(model["vocab"], [tuple(pair) for pair in model["merges"]])
    tokenizer.save_pretrained(folder)
    vocab = tokenizer.get_vocab()
    config = M2M100Config(**fairseq(len(vocab), scale_embedding=True, activation_function="relu"))
    return saved(M2M100ForConditionalGeneration(config), folder)


def m2m100(folder: Path) -> Path:
    """The languages of M2M100 stand behind its pieces, with some ids that stand for nothing."""
    from transformers import M2M100Config, M2M100ForConditionalGeneration
    from transformers.models.m2m_100.tokenization_m2m_100 import FAIRSEQ_LANGUAGE_CODES

    folder.mkdir(parents=True, exist_ok=True)
    found = pieces(folder / "sentencepiece.bpe.model")
    names = [*SPECIAL, *(piece for piece in found if piece not in SPECIAL)]
    (folder / "vocab.json").write_text(json.dumps({name: id for id, name in enumerate(names)}))
    languages = [f"__{code}__" for code in FAIRSEQ_LANGUAGE_CODES["m2m100"]]
    special = {**NAMES, "additional_special_tokens": languages}
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    said = {"tokenizer_class": "M2M100Tokenizer", **NAMES}
    (folder / "tokenizer_config.json").write_text(json.dumps(said))
    config = M2M100Config(**fairseq(len(names) + len(languages) + 8, scale_embedding=True))
    return saved(M2M100ForConditionalGeneration(config), folder)


def mbart(folder: Path, *, fifty: bool = False) -> Path:
    from transformers import MBartConfig, MBartForConditionalGeneration

    codes = ["en_XX", "de_DE", "ro_RO"]
    kind = "MBart50Tokenizer" if fifty else "MBartTokenizer"
    vocab = fast_tokenizer(folder, [*SPECIAL, *codes], tokenizer_class=kind, **NAMES)
    start = {} if fifty else {"decoder_start_token_id": vocab["ro_RO"]}
    config = MBartConfig(**fairseq(len(vocab), scale_embedding=True, **start))
    return saved(MBartForConditionalGeneration(config), folder)


def mbart50(folder: Path) -> Path:
    return mbart(folder, fifty=True)


def bart(folder: Path) -> Path:
    from transformers import BartConfig, BartForConditionalGeneration

    said = {"tokenizer_class": "PreTrainedTokenizerFast", **NAMES}
    vocab = fast_tokenizer(folder, SPECIAL, **said)
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    ends = [{"SpecialToken": {"id": token, "type_id": 0}} for token in ("<s>", "</s>")]
    content["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [ends[0], {"Sequence": {"id": "A", "type_id": 0}}, ends[1]],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {
            token: {"id": token, "ids": [vocab[token]], "tokens": [token]}
            for token in ("<s>", "</s>")
        },
    }
    path.write_text(json.dumps(content))
    config = BartConfig(**fairseq(len(vocab), forced_bos_token_id=0))
    return saved(BartForConditionalGeneration(config), folder)


def t5(folder: Path, **changes: Any) -> Path:
    from transformers import T5Config, T5ForConditionalGeneration, T5Tokenizer

    fast_tokenizer(folder, ["<pad>", "</s>", "<unk>"])
    vocab = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    # Behind the pieces stand the 100 tokens of T5's gaps, and rows that no token has.
    tokenizer = T5Tokenizer([tuple(pair) for pair in vocab], extra_ids=100)
    tokenizer.save_pretrained(folder)
    config = T5Config(
        vocab_size=len(tokenizer) + 28, d_model=32, d_kv=16, d_ff=48, num_layers=2, num_heads=3,
        relative_attention_num_buckets=8, relative_attention_max_distance=20,
        decoder_start_token_id=0, pad_token_id=0, eos_token_id=1,
        task_specific_params={"translation_en_to_de": {"prefix": PREFIX}},
        **changes,
    )  # fmt: skip
    return saved(T5ForConditionalGeneration(config), folder)


def t5_gated(folder: Path) -> Path:
    """T5 1.1: a gated feed-forward, and an output of its own that is not scaled."""
    path = t5(folder, feed_forward_proj="gated-gelu", tie_word_embeddings=False)
    from safetensors.torch import load_file, save_file

    tensors = load_file(path / "model.safetensors")
    tensors["lm_head.weight"] = torch.randn_like(tensors["shared.weight"])
    save_file(tensors, path / "model.safetensors", {"format": "pt"})
    return path
