"""our Transformer → a checkpoint folder as Hugging Face's libraries read it.

It is an M2M100 but for where its positions start (`m2m100.py`).
"""

from pathlib import Path

from models.architectures.transformer import Transformer
from models.whisper_checkpoint import layer_tensors, write


def write_transformer(model: Transformer, folder: Path, *, pad: int, end: int, start: int) -> None:
    config = model.config
    special = {"pad_token_id": pad, "bos_token_id": start, "eos_token_id": end}
    special["decoder_start_token_id"] = start
    state = model.state_dict()
    tensors = layer_tensors(state, key_bias=True)
    tensors["model.shared.weight"] = state["embedding.weight"]
    written = {
        "architectures": ["M2M100ForConditionalGeneration"],
        "model_type": "m2m_100",
        "is_encoder_decoder": True,
        "vocab_size": config.vocab,
        "max_position_embeddings": config.max_len,
        "d_model": config.width,
        "encoder_layers": config.encoder_layers,
        "encoder_attention_heads": config.heads,
        "encoder_ffn_dim": config.hidden,
        "decoder_layers": config.decoder_layers,
        "decoder_attention_heads": config.heads,
        "decoder_ffn_dim": config.hidden,
        "activation_function": "gelu",
        "scale_embedding": True,
        "encoder_layerdrop": 0.0,
        "decoder_layerdrop": 0.0,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        **special,
    }
    write(folder, tensors, {"config.json": written, "generation_config.json": special})
