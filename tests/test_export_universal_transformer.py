"""The Universal Transformer as a graph: what halts early saves time, and decoding is torch's."""

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from export.gate import GateError
from export.model import export_model
from export.precision import change_precision
from export.source import Trained
from models.architectures import universal_transformer
from models.architectures.universal_transformer import PRESETS, UniversalTransformer
from models.catalogue import architecture
from models.reference import Reference
from service import manifest as manifests
from service.decoder import decode
from service.manifest import Data
from service.search import Search
from service.session import Model, bound, open_graph, read_weights

TESTING = PRESETS["testing"]
MANY, RUNS = 24, 5
"""Steps of a model that thinks long, and how often it is measured."""


def random_model(max_steps: int) -> UniversalTransformer:
    """Some of its positions halt early."""
    torch.manual_seed(3)
    config = replace(TESTING, max_steps=max_steps, halting_threshold=0.8)
    model = universal_transformer.build(config).eval()
    with torch.no_grad():
        for halting in (model.source_halting, model.target_halting):
            halting.bias.fill_(-0.5)
            halting.weight.mul_(5)
    return model


def random_tokens(*shape: int) -> torch.Tensor:
    return torch.randint(TESTING.vocab, shape)


class Exported:
    """A model and its graphs."""

    def __init__(self, folder: Path) -> None:
        of, self.model = architecture("universal_transformer"), random_model(TESTING.max_steps)
        trained = Trained(of, self.model, [], Data(source="none", licence="none"), {})
        self.folder = folder / "translation"
        export_model(trained, name="translation", target="cpu", folder=self.folder)
        weights = read_weights(self.folder / manifests.WEIGHTS)
        self.runner = Model(
            "tiny",
            {
                name: open_graph(self.folder, entry, weights, threads=1)
                for name, entry in manifests.read(self.folder).graphs.items()
            },
        )


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return Exported(tmp_path_factory.mktemp("exported"))


def test_its_loops_hold_one_layer_each(exported: Exported) -> None:
    for graph, attention in (("encoder", "MultiHeadAttention"), ("decoder", "GroupQueryAttention")):
        nodes = onnx.load(exported.folder / f"{graph}.onnx", load_external_data=False).graph.node
        (loop,) = [node for node in nodes if node.op_type == "Loop"]
        assert not [node for node in nodes if node.op_type == attention]
        body = next(each.g for each in loop.attribute if each.name == "body")
        ops = [node.op_type for node in body.node]
        assert ops.count(attention) == (1 if graph == "encoder" else 2)


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, manifests.Manifest]:
    """A model of which the tokens below 32 halt at once, and the others never."""
    of, model = architecture("universal_transformer"), random_model(MANY)
    with torch.no_grad():
        model.embedding.weight[:, 0] = torch.where(torch.arange(TESTING.vocab) < 32, 3.0, -3.0)
        for halting in (model.source_halting, model.target_halting):
            halting.weight.copy_(5 * torch.eye(TESTING.width)[0])
    folder = tmp_path_factory.mktemp("decided") / "translation"
    trained = Trained(of, model, [], Data(source="none", licence="none"), {})
    return folder, export_model(trained, name="translation", target="cpu", folder=folder)


def profiled(
    folder: Path, manifest: manifests.Manifest, graph: str, first_token: int, op: str
) -> tuple[int, float]:
    """How often a graph ran an operator, and the least time in seconds that a run of it took."""
    options = ort.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(folder.parent / f"{graph}.{first_token}")
    options.log_severity_level = 3
    entry = manifest.graphs[graph]
    weights = bound(read_weights(folder / manifests.WEIGHTS), entry.weights)
    values = [ort.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
    options.add_external_initializers(list(weights), values)
    session = ort.InferenceSession(folder / entry.file, options)
    model = universal_transformer.build(universal_transformer.Config(**manifest.config))  # type: ignore[arg-type]
    of = {each.name: each for each in universal_transformer.graphs(model)}[graph]
    given = {name: tensor.numpy() for name, tensor in of.inputs(**of.cases[0]).items()}
    for name in ("source", "tokens"):
        if name in given:
            given[name] = first_token + given[name] % 32
    times_s = []
    for _ in range(RUNS):
        start_s = time.perf_counter()
        session.run(None, given)
        times_s.append(time.perf_counter() - start_s)
    events = json.loads(Path(session.end_profiling()).read_text())
    ran = [each for each in events if each["name"].endswith("_kernel_time")]
    return sum(each["args"]["op_name"] == op for each in ran) // RUNS, min(times_s)


@pytest.mark.parametrize(
    ("graph", "op", "each"),
    [("encoder", "MultiHeadAttention", 1), ("decoder", "GroupQueryAttention", 2)],
)
def test_the_exported_loop_ends_with_the_last_that_halts(
    graph: str, op: str, each: int, decided: tuple[Path, manifests.Manifest]
) -> None:
    short, short_s = profiled(*decided, graph, 0, op)
    long, long_s = profiled(*decided, graph, 32, op)
    assert (short, long) == (each, each * MANY)
    assert short_s < long_s / 2


def test_the_exported_graphs_decode_as_torch_does(exported: Exported) -> None:
    reference = Reference(universal_transformer.graphs(exported.model))
    rng = np.random.default_rng(2)
    source, lengths = rng.integers(5, 60, (6, 9)), rng.integers(3, 10, 6)
    answers = []
    for runner in (exported.runner, reference):
        encoded = runner.run("encoder", {"source": source, "source_lengths": lengths})
        searches = [Search([2], -1, 8, beam_size=2)] * 6
        found = decode(runner, encoded | {"source_lengths": lengths.copy()}, searches)
        answers.append([[each.tokens for each in hypotheses] for hypotheses in found])
    assert answers[0] == answers[1]


def test_attention_and_steps_of_each_token_are_those_of_torch(exported: Exported) -> None:
    source, target = random_tokens(3, 9), random_tokens(3, 6)
    lengths = torch.tensor([9, 2, 5])
    with torch.inference_mode():
        weights, of_source, of_target = exported.model.explain(source, lengths, target)
    given = {"source": source, "source_lengths": lengths, "tokens": target}
    found = exported.runner.run("attention", {name: each.numpy() for name, each in given.items()})
    np.testing.assert_allclose(found["weights"], weights.numpy(), atol=1e-5)
    assert np.array_equal(found["source_steps"], of_source.numpy())
    assert np.array_equal(found["target_steps"], of_target.numpy())
    assert found["source_steps"][1].tolist()[2:] == [0] * 7


def test_a_loop_is_not_rounded_to_int8(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(GateError, match="encoder, decoder: what a loop multiplies with"):
        change_precision(exported.folder, precision="int8", data_dir=tmp_path)
