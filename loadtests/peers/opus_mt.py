"""`python -m loadtests.peers.opus_mt FOLDER`: a checkpoint of OPUS-MT's shape, weights random.

77 M parameters and their SentencePiece models, as Hugging Face's library writes and reads them.
"""

import json
from pathlib import Path

import sentencepiece
import torch
import typer
from transformers import MarianConfig, MarianMTModel

VOCAB = 58_101
END, PAD = 0, VOCAB - 1
"""A text begins with the padding."""
LAYERS, WIDTH, HIDDEN, HEADS, POSITIONS = 6, 512, 2_048, 8, 512
PIECES = 400
"""Of each side's SentencePiece model; the other tokens stand for nothing that is ever written."""
CONTROL = ("<s>", "</s>", "<unk>")
TEXT = Path(__file__).parents[2] / "README.md"


def main(folder: Path) -> None:
    """Write it into a new folder."""
    folder.mkdir()
    torch.manual_seed(0)
    sentencepiece.SentencePieceTrainer.train(
        input=str(TEXT), model_prefix=str(folder / "source"), vocab_size=PIECES,
        hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    (folder / "source.vocab").unlink()
    (folder / "source.model").rename(folder / "source.spm")
    (folder / "target.spm").write_bytes((folder / "source.spm").read_bytes())
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "source.spm"))
    pieces = [processor.id_to_piece(number) for number in range(processor.get_piece_size())]
    names = ["</s>", "<unk>", *(piece for piece in pieces if piece not in CONTROL)]
    names += [f"▁{number}▁" for number in range(VOCAB - len(names) - 1)] + ["<pad>"]
    vocab = {name: number for number, name in enumerate(names)}
    (folder / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    said = {"tokenizer_class": "MarianTokenizer", "source_lang": "en", "target_lang": "de"}
    (folder / "tokenizer_config.json").write_text(json.dumps(said), encoding="utf-8")
    config = MarianConfig(
        vocab_size=VOCAB, d_model=WIDTH, max_position_embeddings=POSITIONS,
        encoder_layers=LAYERS, encoder_attention_heads=HEADS, encoder_ffn_dim=HIDDEN,
        decoder_layers=LAYERS, decoder_attention_heads=HEADS, decoder_ffn_dim=HIDDEN,
        pad_token_id=PAD, eos_token_id=END, decoder_start_token_id=PAD, forced_eos_token_id=END,
        activation_function="swish", scale_embedding=True,
    )  # fmt: skip
    MarianMTModel(config).save_pretrained(folder)


if __name__ == "__main__":
    typer.run(main)
