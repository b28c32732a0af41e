"""source token ids → target token ids: recurrent encoder and decoder with attention, to translate.

Source: Bahdanau et al. 2015, "Neural Machine Translation by Jointly Learning to Align and
Translate", appendix A: a bidirectional GRU reads the source, a GRU writes the target, and before
each word it looks at the source with additive attention (`AdditiveAttention`). As there, the output
is a maxout layer over state, last word and context. Unlike there, one embedding serves source,
target and output, the layer before it sees the new state, and the GRUs are those of torch and ONNX,
which reset the state after it has been multiplied.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from models.architectures.transformer import loss, score
from models.explain import aligning
from models.graph import Attentions, Graph
from models.halting import repeat
from models.recipe import Recipe
from models.recurrence import GRU
from models.translator import decoder_graph, encoder_graph
from service.tasks.translation import CONTRACT

__all__ = [
    "PRESETS", "RECIPES", "TOLERANCE", "Config", "attentions", "build", "graphs", "loss", "score",
]  # fmt: skip

State = Float[Tensor, "batch hidden"]
Keys = Float[Tensor, "batch src_len attention"]
Annotations = Float[Tensor, "batch src_len two_hidden"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Sizes of the model: of embeddings, of each GRU, and of the layer that scores."""

    vocab: int
    width: int
    hidden: int
    attention: int
    dropout: float = 0.1


PRESETS = {
    "testing": Config(vocab=64, width=32, hidden=48, attention=40, dropout=0.0),
    "small": Config(vocab=4_000, width=256, hidden=320, attention=256, dropout=0.2),
}


def reversed_rows(
    x: Float[Tensor, "batch len width"], lengths: Int[Tensor, " batch"]
) -> Float[Tensor, "batch len width"]:
    """Each row back to front within its length; padding stays behind it."""
    positions = torch.arange(x.shape[1], device=x.device)[None, :]
    last = lengths[:, None] - 1
    order = torch.where(positions <= last, last - positions, positions)
    return x.gather(1, order[:, :, None].expand(-1, -1, x.shape[2]))


class Encoder(nn.Module):
    """A GRU from each end; the annotation of a word is what both know at it."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.forwards = GRU(width, hidden)
        self.backwards = GRU(width, hidden)

    def forward(
        self, x: Float[Tensor, "batch src_len width"], lengths: Int[Tensor, " batch"]
    ) -> Annotations:
        back = self.backwards(reversed_rows(x, lengths))
        return torch.cat([self.forwards(x), reversed_rows(back, lengths)], dim=2)


class AdditiveAttention(nn.Module):
    """Scores by a small network: v · tanh(W s + U h_j), and the mean of h by their softmax."""

    def __init__(self, hidden: int, annotation: int, size: int) -> None:
        super().__init__()
        self.query = nn.Linear(hidden, size, bias=False)
        self.key = nn.Linear(annotation, size)
        self.score = nn.Linear(size, 1, bias=False)

    def weights(
        self, state: State, keys: Keys, keep: Bool[Tensor, "batch src_len"]
    ) -> Float[Tensor, "batch 1 src_len"]:
        """How much each source word counts now: the alignment."""
        scores: Tensor = self.score(torch.tanh(self.query(state)[:, None] + keys)).transpose(1, 2)
        return scores.masked_fill(~keep[:, None], -torch.inf).softmax(dim=-1)

    def forward(
        self,
        state: State,
        keys: Keys,
        annotations: Annotations,
        keep: Bool[Tensor, "batch src_len"],
    ) -> Float[Tensor, "batch two_hidden"]:
        return (self.weights(state, keys, keep) @ annotations)[:, 0]


class Seq2SeqAttention(nn.Module):
    """Encoder and decoder over one shared vocabulary."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        width, hidden = config.width, config.hidden
        self.embedding = nn.Embedding(config.vocab, width)
        self.encoder = Encoder(width, hidden)
        self.initial = nn.Linear(hidden, hidden)
        self.attention = AdditiveAttention(hidden, 2 * hidden, config.attention)
        self.decoder = nn.GRUCell(width + 2 * hidden, hidden)
        self.readout = nn.Linear(hidden + width + 2 * hidden, 2 * width)
        self.dropout = nn.Dropout(config.dropout)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)

    def embed(self, tokens: Int[Tensor, "batch len"]) -> Float[Tensor, "batch len width"]:
        embedded: Tensor = self.dropout(self.embedding(tokens) * self.config.width**0.5)
        return embedded

    def encode(
        self, source: Int[Tensor, "batch src_len"], lengths: Int[Tensor, " batch"]
    ) -> tuple[Keys, Annotations, State]:
        """Keys, annotations, and the state that the decoder begins in.

        That follows from the state in which the way back ends, at the first word.
        """
        annotations = self.encoder(self.embed(source), lengths)
        back = annotations[:, 0, self.config.hidden :]
        return self.attention.key(annotations), annotations, torch.tanh(self.initial(back))

    def advance(
        self,
        embedded: Float[Tensor, "batch width"],
        state: State,
        keys: Keys,
        annotations: Annotations,
        keep: Bool[Tensor, "batch src_len"],
    ) -> tuple[State, Float[Tensor, "batch two_hidden"]]:
        """The state after a target word, and what of the source it was looked at."""
        context = self.attention(state, keys, annotations, keep)
        return self.decoder(torch.cat([embedded, context], dim=1), state), context

    def project(
        self, known: Float[Tensor, "*positions all_known"]
    ) -> Float[Tensor, "*positions vocab"]:
        """State, last word and context → logits: the larger of two numbers for each channel."""
        channels: Tensor = self.readout(known).unflatten(-1, (self.config.width, 2))
        return functional.linear(self.dropout(channels.amax(-1)), self.embedding.weight)

    def forward(
        self,
        source: Int[Tensor, "batch src_len"],
        source_lengths: Int[Tensor, " batch"],
        target: Int[Tensor, "batch tgt_len"],
    ) -> Float[Tensor, "batch tgt_len vocab"]:
        """Teacher-forced logits: position t sees target tokens 0..t."""
        keys, annotations, state = self.encode(source, source_lengths)
        keep = kept(source_lengths, source.shape[1])
        embedded = self.embed(target)
        known = []
        for word in embedded.unbind(1):
            state, context = self.advance(word, state, keys, annotations, keep)
            known.append(torch.cat([state, word, context], dim=1))
        return self.project(torch.stack(known, dim=1))

    def explain(
        self,
        source: Int[Tensor, "batch src_len"],
        source_lengths: Int[Tensor, " batch"],
        target: Int[Tensor, "batch tgt_len"],
    ) -> Float[Tensor, "batch 1 1 tgt_len src_len"]:
        """The alignment: where position t looks, which foretells target token t + 1."""
        keys, annotations, first = self.encode(source, source_lengths)
        keep = kept(source_lengths, source.shape[1])
        embedded = self.embed(target)
        places = torch.arange(target.shape[1], device=target.device)[:, None]

        def going(place: Tensor, *_: Tensor) -> Tensor:
            return place < embedded.shape[1]

        def body(place: Tensor, state: Tensor, seen: Tensor) -> tuple[Tensor, ...]:
            word = embedded.index_select(1, place.reshape(1))[:, 0]
            weights = self.attention.weights(state, keys, keep)
            state, _ = self.advance(word, state, keys, annotations, keep)
            return place + 1, state, torch.where(places == place, weights, seen)

        nothing = keys.new_zeros(target.shape[0], target.shape[1], source.shape[1])
        start = torch.zeros((), dtype=torch.int64, device=target.device)
        _, _, seen = repeat(going, body, (start, first, nothing))
        return seen[:, None, None]

    def step(
        self,
        tokens: Int[Tensor, "batch 1"],
        source_lengths: Int[Tensor, " batch"],
        keys: Keys,
        annotations: Annotations,
        state: State,
    ) -> tuple[Float[Tensor, "batch vocab"], State]:
        """One decoding step: logits and the state after it."""
        keep = kept(source_lengths, keys.shape[1])
        word = self.embed(tokens)[:, 0]
        state, context = self.advance(word, state, keys, annotations, keep)
        return self.project(torch.cat([state, word, context], dim=1)), state


def kept(lengths: Int[Tensor, " batch"], src_len: int) -> Bool[Tensor, "batch src_len"]:
    return torch.arange(src_len, device=lengths.device)[None, :] < lengths[:, None]


def build(config: Config) -> Seq2SeqAttention:
    return Seq2SeqAttention(config)


RECIPES = {
    "multi30k-seq2seq-attention": Recipe(
        preset="small",
        dataset="multi30k",
        task="translation",
        data={"batch_tokens": 3_072, "vocab": 4_000},
        steps=1_100,
        decay_share=0.7,
        learning_rate=3e-3,
        warmup_steps=100,
        evaluate_every_steps=100,
    ),
}


class _Encoder(nn.Module):
    """The graph `encoder`: keys and values as of one head, and the first state."""

    def __init__(self, model: Seq2SeqAttention) -> None:
        super().__init__()
        self.model = model

    def forward(self, source: Tensor, source_lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        keys, annotations, state = self.model.encode(source, source_lengths)
        return keys[:, None], annotations[:, None], state


class _DecoderStep(nn.Module):
    """The graph `decoder`: one step of all rows. How far a row is does not matter to it."""

    def __init__(self, model: Seq2SeqAttention) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        tokens: Tensor,
        past_lengths: Tensor,  # noqa: ARG002
        source_lengths: Tensor,
        cross_key: Tensor,
        cross_value: Tensor,
        state: Tensor,
    ) -> tuple[Tensor, Tensor]:
        return self.model.step(tokens, source_lengths, cross_key[:, 0], cross_value[:, 0], state)


def graphs(model: Seq2SeqAttention) -> tuple[Graph, Graph, Graph]:
    """Encoder, decoding step and attention, with cases of mixed lengths, padded and not."""
    config = model.config

    def kept(batch: int, src_len: int, **_: int) -> dict[str, Tensor]:
        return {
            "cross_key_0": torch.randn(batch, 1, src_len, config.attention),
            "cross_value_0": torch.randn(batch, 1, src_len, 2 * config.hidden).tanh(),
            "state_0": torch.randn(batch, config.hidden).tanh(),
        }

    return (
        encoder_graph(
            _Encoder(model),
            vocab=config.vocab,
            outputs=["cross_key_0", "cross_value_0", "state_0"],
        ),
        decoder_graph(
            _DecoderStep(model), vocab=config.vocab, kept=kept, outputs=["logits", "next_state_0"]
        ),
        aligning(model, CONTRACT["attention"], source_vocab=config.vocab, vocab=config.vocab),
    )


TOLERANCE = 2e-5


def attentions(_: Config) -> dict[str, Attentions]:
    """One in the decoder, additive: it is exported as written, for no target fuses it."""
    step = Attentions(additive=1)
    return {"encoder": Attentions(), "decoder": step, "attention": step}
