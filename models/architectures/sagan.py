"""noise, class → pixels: the self-attention GAN, two networks that train each other.

Sources: Zhang et al. 2019, "Self-Attention Generative Adversarial Networks" (attention over feature
maps, spectral norm in both networks, a learning rate each); Miyato and Koyama 2018, "cGANs with
Projection Discriminator"; Miyato et al. 2018, "Spectral Normalization for Generative Adversarial
Networks"; Yazıcı et al. 2019, "The Unusual Effectiveness of Averaging in GAN Training". Scores of
attention are divided by sqrt(head_dim), as everywhere here and not in the first paper; what makes
the queries learns to make up for it.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from models.attention import attend, attention_weights
from models.datasets import Batch
from models.explain import explaining, watching
from models.graph import Attentions, Graph
from models.layers import Heads
from models.recipe import Recipe
from service.tasks.unconditional_image_generation import CONTRACT, NOISE

Maps = Float[Tensor, "batch channels height width"]
Labels = Int[Tensor, " batch"]
INNERMOST = torch.channels_last
"""Where convolutions on a CPU like the channels to be."""


@dataclass(frozen=True)
class Config:
    """Sizes of the model; its pictures are four times as high and wide as its smallest maps."""

    classes: int
    width: int
    """Channels of the largest maps; with each halving of the side there are twice as many."""
    channels: int = 1
    """Of a picture."""
    least_side: int = 7
    attending: bool = True
    """Whether the maps of twice the least side attend to themselves."""
    momentum: float = 0.998
    """How much of the averaged weights stays at each step."""

    @property
    def side(self) -> int:
        return 4 * self.least_side


PRESETS = {
    "testing": Config(classes=3, width=8, least_side=2, momentum=0.5),
    "garments": Config(classes=10, width=32),
    "garments-without-attention": Config(classes=10, width=32, attending=False),
}


class SelfAttention(nn.Module):
    """Every place attends to all of the map: x + scale · o(attend(f(x), g(x), h(x))) (equation 3).

    Queries and keys have an eighth of the channels, values half; keys and values are pooled, and
    so a quarter as many. The scale begins at zero: the net first learns from what is near.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, channels // 8, 1)
        self.key = nn.Conv2d(channels, channels // 8, 1)
        self.value = nn.Conv2d(channels, channels // 2, 1)
        self.out = nn.Conv2d(channels // 2, channels, 1)
        self.scale = nn.Parameter(torch.zeros(1))

    def forward(self, x: Maps) -> Maps:
        key, value = self.pooled(self.key(x)), self.pooled(self.value(x))
        attended = attend(places(self.query(x)), places(key), places(value))[:, 0].transpose(1, 2)
        out: Maps = x + self.scale * self.out(attended.reshape(x.shape[0], -1, *x.shape[2:]))
        return out

    def pooled(self, x: Maps) -> Float[Tensor, "batch channels half_height half_width"]:
        return functional.max_pool2d(x, 2)

    def attention_weights(self, x: Maps) -> Float[Tensor, "batch height_and_width rows columns"]:
        """How much each place takes of each pooled one, in `forward` of the same."""
        key = self.pooled(self.key(x))
        weights = attention_weights(places(self.query(x)), places(key))[:, 0]
        return weights.unflatten(-1, tuple(key.shape[2:]))  # type: ignore[no-untyped-call,no-any-return]


def places(x: Maps) -> Heads:
    """Each place of maps as a vector, of one head."""
    return x.flatten(2).transpose(1, 2)[:, None]


class ClassNorm(nn.Module):
    """Batch norm whose gain and bias are those of a class (Dumoulin et al. 2017)."""

    def __init__(self, classes: int, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gain = nn.Embedding(classes, channels)
        self.bias = nn.Embedding(classes, channels)
        nn.init.ones_(self.gain.weight)
        nn.init.zeros_(self.bias.weight)

    def forward(self, x: Maps, labels: Labels) -> Maps:
        gain, bias = (of(labels)[:, :, None, None] for of in (self.gain, self.bias))
        out: Maps = gain * self.norm(x) + bias
        return out


class Enlarged(nn.Module):
    """Maps, first normed for their class → maps of twice the height and width."""

    def __init__(self, classes: int, channels_in: int, channels: int) -> None:
        super().__init__()
        self.norm = ClassNorm(classes, channels_in)
        self.enlarge = nn.ConvTranspose2d(channels_in, channels, 4, stride=2, padding=1)

    def forward(
        self, x: Maps, labels: Labels
    ) -> Float[Tensor, "batch fewer_channels twice_height twice_width"]:
        out: Tensor = self.enlarge(self.norm(x, labels).relu())
        return out


class Generator(nn.Module):
    """Noise and a class → a picture."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width, classes, side = config.width, config.classes, config.least_side
        self.least = (4 * width, side, side)
        self.seed = nn.Linear(NOISE, 4 * width * side**2)
        self.first = Enlarged(classes, 4 * width, 2 * width)
        self.attention = SelfAttention(2 * width) if config.attending else nn.Identity()
        self.second = Enlarged(classes, 2 * width, width)
        self.norm = ClassNorm(classes, width)
        self.out = nn.Conv2d(width, config.channels, 3, padding=1)

    def forward(self, noise: Float[Tensor, "batch numbers"], label: Labels) -> Maps:
        x = self.seed(noise).unflatten(1, self.least).contiguous(memory_format=INNERMOST)
        x = self.second(self.attention(self.first(x, label)), label)
        pixels: Maps = self.out(self.norm(x, label).relu()).tanh()
        return pixels

    def explain(
        self, noise: Float[Tensor, "batch numbers"], label: Labels
    ) -> tuple[Maps, Float[Tensor, "batch rows columns"]]:
        """The pictures, and how much all places together look at each."""
        with watching(self) as seen:
            pixels = self(noise, label)
        (weights,) = seen
        return pixels, weights.mean(1)


class Discriminator(nn.Module):
    """A picture and a class → how real it looks: above 0 rather real, below rather not."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.width
        self.first = nn.Conv2d(config.channels, 2 * width, 4, stride=2, padding=1)
        self.attention = SelfAttention(2 * width) if config.attending else nn.Identity()
        self.second = nn.Conv2d(2 * width, 4 * width, 4, stride=2, padding=1)
        self.third = nn.Conv2d(4 * width, 4 * width, 3, padding=1)
        self.out = nn.Linear(4 * width, 1)
        self.classes = spectral_norm(nn.Embedding(config.classes, 4 * width))

    def forward(self, pixels: Maps, label: Labels) -> Float[Tensor, " batch"]:
        x = leaky(self.first(pixels.contiguous(memory_format=INNERMOST)))
        x = leaky(self.third(leaky(self.second(self.attention(x)))))
        pooled = x.sum((2, 3))
        realism: Float[Tensor, " batch"] = self.out(pooled)[:, 0]
        for_its_class: Float[Tensor, " batch"] = (self.classes(label) * pooled).sum(1)
        return realism + for_its_class


def leaky(x: Maps) -> Maps:
    return functional.leaky_relu(x, 0.1)


def spectrally_normed(network: nn.Module) -> nn.Module:
    """The network with the largest singular value of each of its matrices held at one."""
    for module in list(network.modules()):
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            spectral_norm(module)
    return network


class Sagan(nn.Module):
    """The two networks that train each other, and the average of the generators so far.

    The average is what is served: it draws better than any generator on the way.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.generator = spectrally_normed(Generator(config))
        self.discriminator = spectrally_normed(Discriminator(config))
        self.average = Generator(config).requires_grad_(False)
        self.follow(momentum=0.0)

    @torch.no_grad()
    def follow(self, momentum: float) -> None:
        """Move the average a step towards the generator, whose weights are normed by then."""
        for name, module in self.average.named_modules():
            of = self.generator.get_submodule(name)
            for own, mean in module.named_parameters(recurse=False):
                mean.lerp_(getattr(of, own), 1 - momentum)
            for own, statistic in module.named_buffers(recurse=False):
                statistic.copy_(getattr(of, own))

    def forward(self, noise: Float[Tensor, "batch numbers"], label: Labels) -> Maps:
        pixels: Maps = self.average(noise, label)
        return pixels


def build(config: Config) -> Sagan:
    return Sagan(config)


def doubts(realism: Float[Tensor, " batch"]) -> Float[Tensor, ""]:
    """How far pictures are from being sure of: the hinge of both players (Lim and Ye 2017)."""
    return functional.relu(1 - realism).mean()


def loss(model: nn.Module, batch: Batch) -> Float[Tensor, ""]:
    """What both players lose, as one number, of which each weight feels its own player's part.

    The discriminator sees pictures that are no longer the generator's to change, and the generator
    is judged by a discriminator that is not to be changed: one backward pass moves both.
    """
    assert isinstance(model, Sagan)
    real, labels = batch["pixels"], batch["labels"]
    model.follow(model.config.momentum)
    drawn = model.generator(torch.randn(len(real), NOISE), labels)
    shown = torch.cat([real, drawn.detach().to(real.dtype)])
    judged = model.discriminator(shown, labels.repeat(2))
    seen, seen_through = judged.float().chunk(2)
    judge = {name: weight.detach() for name, weight in model.discriminator.named_parameters()}
    taken_for_real: Tensor = functional_call(model.discriminator, judge, (drawn, labels))
    return doubts(seen) + doubts(-seen_through) - taken_for_real.float().mean()


def score(model: nn.Module, batch: Batch) -> dict[str, float]:
    """How well the discriminator tells a dev batch from pictures drawn for its classes.

    `loss` is the discriminator's, `correct` the pictures on the right side of 0.
    """
    assert isinstance(model, Sagan)
    real, labels = batch["pixels"], batch["labels"]
    noise = torch.randn(len(real), NOISE, generator=torch.Generator().manual_seed(0))
    seen = model.discriminator(real, labels).float()
    seen_through = -model.discriminator(model(noise, labels), labels).float()
    right = (torch.cat([seen, seen_through]) > 0).sum()
    lost = (doubts(seen) + doubts(seen_through)).detach() * len(real)
    return {"count": 2.0 * len(real), "loss": float(lost), "correct": float(right)}


def optimizers(model: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Adam without momentum for both, the discriminator twice as fast (Heusel et al. 2017)."""
    assert isinstance(model, Sagan)
    groups = [
        {"params": [*model.generator.parameters()], "pace": 1.0},
        {"params": [*model.discriminator.parameters()], "pace": 2.0},
    ]
    return [torch.optim.Adam(groups, lr=recipe.learning_rate, betas=(0.0, 0.9), fused=True)]


def graphs(model: Sagan) -> tuple[Graph, ...]:
    """The averaged generator; what it was trained with is left behind. And where it looks."""

    def inputs(batch: int) -> dict[str, Tensor]:
        labels = torch.randint(model.config.classes, (batch,))
        return {"noise": torch.randn(batch, NOISE), "label": labels}

    graph = Graph(
        name="model",
        module=model.average,
        contract=CONTRACT["model"],
        outputs=["pixels"],
        inputs=inputs,
        cases=[{"batch": batch} for batch in (3, 1, 16)],
    )
    if not model.config.attending:
        return (graph,)
    return graph, explaining(graph, CONTRACT["attention"])


def attentions(config: Config) -> dict[str, Attentions]:
    """One, if there is any."""
    one = Attentions(whole=1)
    return {"model": one, "attention": one} if config.attending else {"model": Attentions()}


TOLERANCE = 2e-5


def _recipe(preset: str) -> Recipe:
    return Recipe(
        preset=preset,
        dataset="fashion_mnist",
        data={"batch_size": 64, "channels": 1},
        steps=6_000,
        learning_rate=3e-4,
        warmup_steps=100,
        decay_share=0.4,
        evaluate_every_steps=500,
    )


RECIPES = {
    "unconditional-image-generation": _recipe("garments"),
    "image-generation-without-attention": _recipe("garments-without-attention"),
}
