"""log-mel frames → class logits: the keyword transformer, for audio classification.

Source: Berg et al. 2021, "Keyword Transformer: A Self-Attention Model for Keyword Spotting", with
pre-norm blocks, convolutions over time and frequency that quarter both (Dong et al. 2018, "Speech-
Transformer", 3.3), and the mean of the positions in place of a class token, so that attention may
be truncated to a window and still nothing is unheard. Then what is heard at a position is the same
in a recording of any length, and live streams are heard piece by piece (`Stream`).
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from models.datasets import Batch
from models.explain import by_head, explaining, mean_of_first, rollout, watching
from models.graph import Attentions, Graph, classifier
from models.layers import EncoderLayer
from models.recipe import Recipe
from models.score import sums
from models.truncated import Window, WindowBias
from service.tasks.audio_classification import CONTRACT, FRAMES, MELS

LABEL_SMOOTHING = 0.1
TEACHER_SHARE = 0.7
"""How much of the loss comes from the teacher's probabilities, where the batch holds them."""


@dataclass(frozen=True)
class Config:
    """Sizes of the model; the first convolution makes `channels`, the second twice as many.

    With a `window`, a position attends to so many positions (of 40 ms) before it and behind it in
    each layer, and is told how far they are; without, to all, and is told where it stands.
    """

    classes: int
    width: int
    heads: int
    hidden: int
    layers: int
    channels: int
    mels: int = MELS
    frames: int = FRAMES
    window: Window | None = None
    dropout: float = 0.1

    @property
    def positions(self) -> int:
        """Frames left by the stem."""
        return (self.frames + 3) // STRIDE


STRIDE = 4
"""Frames from one position to the next."""
STREAMED = 5
"""Positions that a piece of a stream tells of, 200 ms; the rest of it is what surrounds them."""

PRESETS = {
    "testing": Config(classes=4, width=32, heads=2, hidden=64, layers=2, channels=8, dropout=0.0),
    "base": Config(classes=12, width=128, heads=4, hidden=512, layers=4, channels=32),
    # Hears 680 ms before a moment and 190 ms behind it.
    "truncated": Config(
        classes=12, width=128, heads=4, hidden=512, layers=4, channels=32, window=(4, 1)
    ),
}


class Stem(nn.Module):
    """Two 3x3 convolutions with stride 2 over time and frequency, and a projection to `width`."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        first, second = config.channels, 2 * config.channels
        self.convolutions = nn.Sequential(
            nn.Conv2d(1, first, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(first),
            nn.GELU(),
            nn.Conv2d(first, second, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(second),
            nn.GELU(),
        )
        self.out = nn.Linear(second * ((config.mels + 3) // 4), config.width)

    def forward(
        self, features: Float[Tensor, "batch frames mels"]
    ) -> Float[Tensor, "batch positions width"]:
        x = self.convolutions(features[:, None])
        positions: Tensor = self.out(x.transpose(1, 2).flatten(2))
        return positions


class KeywordTransformer(nn.Module):
    """The stem, then self-attention between positions of 40 ms."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.stem = Stem(config)
        if config.window is None:
            self.positions = nn.Parameter(torch.randn(1, config.positions, config.width) * 0.02)
        else:
            before, behind = config.window
            self.bias = WindowBias(config.heads, (before, behind))
        self.layers = nn.ModuleList(
            EncoderLayer(config.width, config.heads, config.hidden, config.dropout)
            for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, config.classes)

    def encode(
        self, features: Float[Tensor, "batch frames mels"]
    ) -> Float[Tensor, "batch positions width"]:
        """With a window, any number of frames; without, those of the config."""
        x, bias = self.stem(features), None
        if self.config.window is None:
            x = x + self.positions
        else:
            bias = self.bias(x.shape[1])
        for layer in self.layers:
            x = layer(x, mask=bias)
        encoded: Tensor = self.norm(x)
        return encoded

    def forward(
        self, features: Float[Tensor, "batch frames mels"]
    ) -> Float[Tensor, "batch classes"]:
        logits: Tensor = self.head(self.encode(features).mean(dim=1))
        return logits

    def explain(
        self, features: Float[Tensor, "batch frames mels"]
    ) -> tuple[
        Float[Tensor, "batch classes"],
        Float[Tensor, "batch positions"],
        Float[Tensor, "batch layers heads positions"],
    ]:
        """Logits, and how much of each position is in them: by all layers, and by each head."""
        with watching(self) as layers:
            logits = self(features)
        read = mean_of_first(self.config.positions, layers)
        return logits, rollout(layers, read), by_head(layers, read)


class Stream(nn.Module):
    """The model on a piece of a stream: logits of the positions whose surroundings are all in it.

    The mean of a second of them is what the model says of that second.
    """

    def __init__(self, model: KeywordTransformer) -> None:
        super().__init__()
        self.model = model
        config = model.config
        assert config.window is not None
        before, behind = (config.layers * reach for reach in config.window)
        # The stem's own reach is three frames to either side: one position more before the first.
        self.start, self.frames = before + 1, STRIDE * (before + 1 + STREAMED + behind)

    def forward(
        self, features: Float[Tensor, "batch frames mels"]
    ) -> tuple[Float[Tensor, "batch positions classes"], Int[Tensor, "batch positions"]]:
        """The logits, and the frames of the piece in whose middle their positions are."""
        told = slice(self.start, self.start + STREAMED)
        logits: Tensor = self.model.head(self.model.encode(features)[:, told])
        frames = torch.arange(told.start, told.stop) * STRIDE
        return logits, frames.expand(features.shape[0], -1)


def build(config: Config) -> KeywordTransformer:
    return KeywordTransformer(config)


def loss(model: nn.Module, batch: Batch) -> Float[Tensor, ""]:
    """Cross entropy to the labels, mixed with that to the teacher (Hinton et al. 2015).

    `labels` and `teacher` are probabilities of each class.
    """
    logits = model(batch["features"]).float()
    labelled = functional.cross_entropy(logits, batch["labels"], label_smoothing=LABEL_SMOOTHING)
    if "teacher" not in batch:
        return labelled
    taught = functional.cross_entropy(logits, batch["teacher"])
    return TEACHER_SHARE * taught + (1 - TEACHER_SHARE) * labelled


def score(model: nn.Module, batch: Batch) -> dict[str, float]:
    """Over a dev batch of clips, without label smoothing."""
    return sums(model(batch["features"]), batch["labels"].argmax(-1))


def graphs(model: KeywordTransformer) -> tuple[Graph, ...]:
    """The whole model on one second of frames, and its attention; with a window, streams too."""
    config = model.config
    axes = (config.frames, config.mels)
    (graph,) = classifier(model, CONTRACT["model"], "features", axes, (3, 1, 8))
    whole = graph, explaining(graph, CONTRACT["attention"])
    return whole if config.window is None else (*whole, _stream(Stream(model), config.mels))


def _stream(stream: Stream, mels: int) -> Graph:
    tensor = replace(CONTRACT["stream"].inputs["frames"], axes=("batch", stream.frames, mels))

    def inputs(batch: int) -> dict[str, Tensor]:
        return {"frames": torch.randn(batch, stream.frames, mels)}

    return Graph(
        name="stream",
        module=stream,
        contract=replace(CONTRACT["stream"], inputs={"frames": tensor}),
        outputs=["logits", "middles"],
        inputs=inputs,
        cases=[{"batch": batch} for batch in (3, 1, 8)],
    )


def attentions(config: Config) -> dict[str, Attentions]:
    """One per layer."""
    streams = [] if config.window is None else ["stream"]
    return dict.fromkeys(["model", "attention", *streams], Attentions(whole=config.layers))


TOLERANCE = 1e-5
WHOLE = Recipe(
    preset="base",
    dataset="speech_commands",
    data={"batch_size": 128, "passes": 10, "teacher": 1},
    steps=2_400,
    learning_rate=2e-3,
    warmup_steps=100,
    decay_share=0.8,
    weight_decay=0.05,
    evaluate_every_steps=100,
)
RECIPES = {
    "audio-classification": WHOLE,
    "keyword-spotting": replace(WHOLE, preset="truncated"),
}
