"""a task → the requests that every server is asked."""

from itertools import islice
from pathlib import Path
from random import Random

from loadtests.serving.bench import speech, texts
from loadtests.serving.compare.adapters import Payload, payload
from loadtests.serving.shapes import PAIRS, SENTENCES, drawn
from service.schema import RequestModel
from service.tasks import Task, task

TRANSLATION, SPEECH = "translation", "automatic-speech-recognition"


def payloads(name: str, data_dir: Path, number: int, *, seed: int) -> list[Payload]:
    """So many, or as many recordings as there are.

    Sentences of Tatoeba, some ten times as long, and recordings of LibriSpeech where the data
    folder has them; else, and for pictures and keywords, what is made from the task's example.
    """
    of, random = task(name), Random(seed)
    if name == TRANSLATION:
        return [payload(of, each) for each in _texts(of, data_dir, number, random, seed)]
    if name == SPEECH and (data_dir / "librispeech_other").exists():
        known = islice(speech.recordings(data_dir), number)
        return [payload(of, of.request.model_validate({"audio": each.content})) for each in known]
    if name == SPEECH:
        return [payload(of, of.example())]
    return [payload(of, drawn(of, random)) for _ in range(number)]


def _texts(of: Task, data_dir: Path, number: int, random: Random, seed: int) -> list[RequestModel]:
    """Greedy, for that is all that a plain decoding loop can."""
    if (data_dir / "tatoeba").exists():
        known = texts.requests(data_dir, number, beam_size=1, seed=seed)
        return [of.request.model_validate_json(each.body) for each in known]
    found = []
    for _ in range(number):
        source, target = random.choice(PAIRS)
        text = " ".join(random.choices(SENTENCES[source], k=random.randint(1, 3)))
        asked = {"text": text, "source": source, "target": target, "beam_size": 1}
        found.append(of.request.model_validate(asked))
    return found
