"""a task, a random generator → a request of a shape of its own, made from the example."""

import io
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

import numpy as np
import soundfile
from PIL import Image

from loadtests.scenarios import Scenario, scenario
from service.schema import RequestModel
from service.tasks import Task

SENTENCES = {
    "en": ("I like to read books.", "Where is the library?", "She came home late last night.",
           "We have been waiting for you since this morning.", "Tom does not want to go.",
           "The weather was so bad that we had to stay at home all day."),
    "de": ("Ich lese gerne Bücher.", "Wo ist die Bibliothek?", "Sie kam gestern spät nach Hause.",
           "Wir warten seit heute Morgen auf dich.", "Tom will nicht gehen.",
           "Das Wetter war so schlecht, dass wir den ganzen Tag zu Hause bleiben mussten."),
    "fr": ("J'aime lire des livres.", "Où est la bibliothèque ?",
           "Elle est rentrée tard hier soir.",
           "Nous t'attendons depuis ce matin.", "Tom ne veut pas partir.",
           "Il faisait si mauvais que nous avons dû rester à la maison toute la journée."),
}  # fmt: skip
PAIRS = (("en", "de"), ("en", "fr"), ("de", "en"), ("fr", "en"))


def _translation(_: Any, random: Random) -> dict[str, Any]:
    source, target = random.choice(PAIRS)
    texts = [
        " ".join(random.choices(SENTENCES[source], k=random.randint(1, 3)))
        for _ in range(random.randint(1, 4))
    ]
    beam_size = random.choice((1, 1, 2, 4))
    return {"text": texts, "source": source, "target": target, "beam_size": beam_size}


def _picture(example: Any, random: Random) -> dict[str, Any]:
    with Image.open(io.BytesIO(example.image)) as whole:
        size = (random.randint(20, 700), random.randint(20, 700))
        written = io.BytesIO()
        whole.convert("RGB").resize(size).save(written, random.choice(("PNG", "JPEG", "WEBP")))
    return {"image": written.getvalue()}


def _recording(example: Any, random: Random) -> dict[str, Any]:
    """A part of the example between stretches of silence, at another loudness."""
    samples, rate_hz = soundfile.read(io.BytesIO(example.audio), dtype="float32")
    first = random.randint(0, len(samples) // 3)
    silence = np.zeros(random.randint(0, rate_hz), np.float32)
    cut = samples[first : first + random.randint(len(samples) // 3, len(samples))]
    written = io.BytesIO()
    changed = np.concatenate([silence, cut * random.uniform(0.3, 1.0), silence])
    soundfile.write(written, changed, rate_hz, format=random.choice(("WAV", "FLAC")))
    return {"audio": written.getvalue()}


def _garment(_: Any, random: Random) -> dict[str, Any]:
    return {"count": random.randint(1, 8), "seed": random.randrange(1_000)}


def _graph(example: Any, random: Random) -> dict[str, Any]:
    """Nodes as those of the example, each tied to one before it."""
    known = [node.model_dump() for node in example.graph.nodes]
    size = random.randint(2, 60)
    edges = [{"source": random.randrange(node), "target": node} for node in range(1, size)]
    return {"graph": {"nodes": random.choices(known, k=size), "edges": edges}}


SHAPES: Mapping[str, Callable[[Any, Random], dict[str, Any]]] = {
    "source": _translation,
    "image": _picture,
    "audio": _recording,
    "graph": _graph,
    "seed": _garment,
}
"""By a field that only such requests have."""


def drawn(task: Task, random: Random) -> RequestModel:
    """A valid request; a task without a shape of its own is asked its example."""
    example = task.example()
    make = next((SHAPES[name] for name in SHAPES if name in task.request.model_fields), None)
    return task.request.model_validate(make(example, random)) if make else example


def shaped(task: Task, random: Random) -> Scenario:
    """What `drawn` gives, as a load asks it."""
    return scenario(task, request=drawn(task, random))
