"""The parts of the load lab: schedules, mixes, payloads, doors, goldens, claims and searches."""

import base64
import json
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest

from loadtests.bisection import rates
from loadtests.lab import goldens, scenarios, search
from loadtests.lab.doors import doors, oip_grpc, oip_rest
from loadtests.lab.generator import stages_of
from loadtests.lab.payloads import NoPayload, Payloads, TraceLine, line_of, payloads
from loadtests.lab.plan import Call, Load, Plan
from loadtests.lab.run import Prepared, Target, Way
from loadtests.lab.samples import Counts, Sample
from loadtests.lab.scenarios import Asked, scenario
from loadtests.lab.search import Sought, claimable, one, undecided
from loadtests.lab.server import batch_rows
from loadtests.lab.soundness import reasons
from loadtests.lab.transports import fault_of
from loadtests.peers.record import Machine
from loadtests.results import Fault, Phase, Run, Server, Terms
from service.tasks import task, tasks

ASKED = Asked(duration_s=60, rate_per_s=10, users=4, samples=8, moments_s=(0.0, 1.5, 2.0))


def call(task_name: str, door: str, payload: int = 0) -> Call:
    return Call(task=task_name, door=door, target="/", payload=payload, body=b"")


def plan(calls: list[Call], weights: dict[str, float], *loads: Load) -> Plan:
    return Plan(addresses={}, calls=calls, weights=weights, loads=list(loads), seed=0)


@pytest.mark.parametrize("name", scenarios.names())
def test_every_scenario_is_either_open_or_closed_and_lasts_as_long_as_asked(name: str) -> None:
    chosen = scenario(name)
    loads = chosen.loads(ASKED)
    assert chosen.summary
    assert all((load.users is None) != (load.rate_per_s is None and load.moments_s is None)
               for load in loads)  # fmt: skip
    wanted_s = ASKED.moments_s[-1] if name == "replay" else ASKED.duration_s
    assert sum(load.duration_s for load in loads) == pytest.approx(wanted_s)


def test_a_schedule_is_that_of_its_seed_and_has_the_rate_asked_for() -> None:
    load = Load(name="", duration_s=200, rate_per_s=50)
    moments = list(load.moments(Random(1)))
    assert moments == list(load.moments(Random(1))) != list(load.moments(Random(2)))
    assert len(moments) == pytest.approx(10_000, rel=0.03)
    gaps = [after - before for before, after in pairwise(moments)]
    mean_s = sum(gaps) / len(gaps)
    spread_s = (sum((gap - mean_s) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert spread_s == pytest.approx(mean_s, rel=0.05), "as wide as it is long: Poisson"


def test_a_mix_follows_its_weights() -> None:
    load = Load(name="", duration_s=1, rate_per_s=1)
    mixed = plan([call("a", "REST"), call("b", "REST")], {"a REST": 3, "b REST": 1}, load)
    drawn = [each.task for each in islice(mixed.choices(load, 0), 4_000)]
    assert drawn.count("a") == pytest.approx(3_000, rel=0.05)


def test_generators_together_send_the_same_requests_as_one() -> None:
    load = Load(name="", duration_s=10, rate_per_s=100)
    shared = plan([call("a", "REST"), call("b", "REST")], {"a REST": 1, "b REST": 1}, load)

    def schedule() -> Iterator[tuple[float, Call]]:
        return zip(load.moments(Random(0)), shared.choices(load, 0), strict=False)

    parts = [list(islice(schedule(), index, None, 3)) for index in range(3)]
    assert sorted((at_s, one.task) for part in parts for at_s, one in part) == [
        (at_s, one.task) for at_s, one in schedule()
    ]


def test_a_trace_comes_in_its_own_order() -> None:
    load = Load(name="", duration_s=2, moments_s=[0.0, 1.0, 2.0])
    calls = [call("b", "REST", 1), call("a", "REST", 0), call("a", "REST", 2)]
    replayed = plan(calls, {"a REST": 1, "b REST": 1}, load).choices(load, 0)
    assert [one.payload for one in replayed] == [0, 1, 2]


def test_a_replay_without_a_trace_says_what_is_missing() -> None:
    with pytest.raises(ValueError, match="--payloads"):
        scenario("replay").loads(Asked(60, 10, 4, 8))


def test_every_door_encodes_the_examples_it_has_a_form_for() -> None:
    known = doors()
    assert {"REST", "gRPC", "OIP-REST", "OIP-gRPC", "OpenAI", "LibreTranslate", "HuggingFace"} <= {
        *known
    }
    taken = {
        (name, one.name)
        for name, door in known.items()
        for one in tasks()
        if door.encode(one, one.example()) is not None
    }
    everywhere = {name for name in known if all((name, one.name) in taken for one in tasks())}
    assert {"REST", "gRPC", "OIP-REST", "OIP-gRPC"} <= everywhere
    assert ("OpenAI", "automatic-speech-recognition") in taken
    assert ("LibreTranslate", "translation") in taken
    assert ("OpenAI", "translation") not in taken


def test_the_protocols_tensors_have_a_length_before_each_element() -> None:
    translation = task("translation")
    encoded = oip_rest.encode(translation, translation.example())
    head = int(encoded.headers["Inference-Header-Content-Length"])
    told, content = json.loads(encoded.body[:head]), encoded.body[head:]
    assert told["inputs"][0]["parameters"]["binary_data_size"] == len(content)
    assert told["parameters"]["target"] == translation.example().model_dump()["target"]
    assert int.from_bytes(content[:4], "little") == len(content) - 4
    over_grpc = oip_grpc.encode(translation, translation.example())
    message = oip_grpc.REQUEST.FromString(over_grpc.body)
    assert message.raw_input_contents[0] == content
    assert message.parameters["target"].string_param == told["parameters"]["target"]


def test_a_folder_fills_each_task_with_its_kind_of_file(tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("Good morning.\n\nGood night.\n")
    (tmp_path / "a.jpg").write_bytes(b"not looked at")
    found = payloads(str(tmp_path), [task("translation"), task("image-classification")])
    texts = [request.model_dump()["text"] for _, request in found.requests["translation"]]
    assert texts == ["Good morning.", "Good night."]
    assert len(found.requests["image-classification"]) == 1
    assert "2 for translation" in found.described
    with pytest.raises(NoPayload, match="audio-classification"):
        payloads(str(tmp_path), [task("audio-classification")])


def test_a_folder_may_say_what_the_other_fields_are(tmp_path: Path) -> None:
    own = tmp_path / "translation"
    own.mkdir()
    (own / "lines.txt").write_text("Guten Morgen.\n")
    (own / "request.json").write_text('{"source": "de", "target": "en"}')
    ((_, request),) = payloads(str(tmp_path), [task("translation")]).requests["translation"]
    assert request.model_dump()["target"] == "en"


def test_a_trace_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    image = task("image-classification")
    path = tmp_path / "trace.jsonl"
    lines = [line_of(image, image.example(), at_s) for at_s in (0.0, 0.25)]
    path.write_text("\n".join(lines))
    assert base64.b64decode(TraceLine.model_validate_json(lines[0]).request["image"])
    found = payloads(str(path), [image])
    assert found.moments_s == (0.0, 0.25)
    assert found.requests[image.name] == [(0, image.example()), (1, image.example())]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nonsense", "line 1"),
        ('{"at_s": 0, "task": "translation", "request": {"txt": "a"}}', "line 1"),
        ('{"at_s": 0, "task": "image-classification", "request": {}}', "no request for"),
    ],
)
def test_a_trace_that_is_none_is_refused_with_its_line(
    text: str, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text(text)
    with pytest.raises(NoPayload, match=words):
        payloads(str(path), [task("translation")])


def test_goldens_of_a_file_are_held_by_the_content_of_the_call(tmp_path: Path) -> None:
    asked = call("a", "REST").model_copy(update={"golden": {"text": "x", "timings_ms": {"a": 1}}})
    goldens.write([asked], tmp_path / "goldens.json")
    (known,) = goldens.from_file(tmp_path / "goldens.json", [call("a", "REST")])
    assert known.golden == {"text": "x"}, "times differ from one right answer to the next"
    with pytest.raises(KeyError, match="b REST"):
        goldens.from_file(tmp_path / "goldens.json", [call("b", "REST")])


def sample(due_s: float, done_s: float, fault: Fault | None = None) -> Sample:
    return Sample(
        0, "a", "REST", due_s, due_s + 0.001, done_s, fault=fault, detail="why", stages={"queue": 2}
    )


def test_samples_are_counted_by_second_and_kind_and_merge_by_way_of_plain_values() -> None:
    one, other, both = Counts(), Counts(), Counts()
    drawn = [sample(0.5, 0.6), sample(0.9, 2.9), sample(2.0, 2.1, Fault.WRONG)]
    for counts, part in ((one, drawn[:1]), (other, drawn[1:]), (both, drawn)):
        for each in part:
            counts.add(each)
    one.merge(json.loads(json.dumps(other.dump())))
    assert list(one.cells.values()) == list(both.cells.values())
    (cell,) = one.cells.values()
    assert (cell.due, cell.answered, cell.failed) == (3, 2, 1)
    assert cell.latency.max_ms == pytest.approx(2_000, rel=1e-3), "from when it was due"
    assert cell.stages["queue"].count == 2
    offered = [(second.offered, second.answered, second.failed) for second in one.timeline()]
    assert offered == [(2, 1, 0), (0, 0, 0), (1, 1, 1)]
    assert one.lag.percentile_ms(0.5) == pytest.approx(1, rel=1e-2)


def test_statuses_are_sorted_into_what_they_mean_for_load() -> None:
    expected = {
        200: None, 404: Fault.INVALID, 429: Fault.REFUSED, 503: Fault.REFUSED,
        504: Fault.EXPIRED, 500: Fault.FAILED, 302: Fault.FAILED,
    }  # fmt: skip
    assert {status: fault_of(status) for status in expected} == expected


def test_stage_times_are_read_only_where_an_answer_has_them() -> None:
    assert stages_of({"timings_ms": {"queue_ms": 1, "compute_ms": 2.5}}) == {
        "queue": 1.0, "compute": 2.5,
    }  # fmt: skip
    assert stages_of([1]) == stages_of({}) == stages_of({"timings_ms": "x"}) == {}


def found(start_per_s: float, highest_per_s: float) -> list[float]:
    bisection = rates(start_per_s, 1.05)
    tried = [next(bisection)]
    while True:
        try:
            tried.append(bisection.send(tried[-1] <= highest_per_s))
        except StopIteration:
            return tried


@pytest.mark.parametrize("start_per_s", [1.0, 40.0, 700.0])
def test_bisection_closes_in_on_the_highest_rate(start_per_s: float) -> None:
    tried = found(start_per_s, 42)
    best = max(rate for rate in tried if rate <= 42)
    fails = min(rate for rate in tried if rate > 42)
    assert fails / best <= 1.05
    assert len(tried) < 16


def test_bisection_gives_up_where_no_rate_holds() -> None:
    assert found(8, 0)[-1] <= 0.1


def test_a_slow_task_is_held_to_a_percentile_that_there_is_time_to_show() -> None:
    assert claimable(100, share_s=60) == 0.99
    assert claimable(3, share_s=180) == 0.95
    assert claimable(0.5, share_s=60) == 0.9


class OneAtATime:
    """Stands for `measure`: a server that does 50 requests a second, and no two at once."""

    serial_s = 0.02
    lag_ms = 0.0

    def __init__(self) -> None:
        self.ways: list[Way] = []

    def __call__(self, part: Prepared, way: Way) -> Run:
        self.ways.append(way)
        counts, free_s = Counts(), 0.0
        closed = way.scenario == "closed"
        steps = (self.serial_s * number for number in range(int(way.duration_s / self.serial_s)))
        load = Load(name="", duration_s=way.duration_s, rate_per_s=way.rate_per_s)
        for due_s in steps if closed else load.moments(Random(0)):
            free_s = max(free_s, due_s) + self.serial_s
            counts.add(Sample(0, "a", "REST", due_s, due_s + self.lag_ms / 1e3, free_s))
        terms = Terms(
            scenario=way.scenario, mix={}, payloads="", seed=0, duration_s=way.duration_s,
            percentile=way.percentile or 0.99,
        )  # fmt: skip
        cells = list(counts.cells.values())
        phase = Phase(name="", began_s=0, duration_s=way.duration_s, cells=cells)
        run = Run(began="", terms=terms, machine=MACHINE, server=Server(addresses={}),
                  phases=[phase], send_lag=counts.lag)  # fmt: skip
        run.void = reasons(run, [], together=True)
        return run


MACHINE = Machine(cpu="", cores=1, memory_gib=1, flags=[], system="", python="")
PART = Prepared(
    Target("", ""), Server(addresses={}), [call("a", "REST")], {"a REST": 1}, Payloads("", {})
)


def test_a_search_finds_the_rate_that_a_server_can_do(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = OneAtATime()
    monkeypatch.setattr(search, "measure", fake)
    sought = Sought({"a": 400}, duration_s=60)
    said: list[str] = []
    found = one("a REST", PART, sought, 60, said.append)
    assert found.best_per_s is not None
    assert found.fails_per_s is not None
    assert 30 < found.best_per_s < found.fails_per_s < 55
    assert found.fails_per_s / found.best_per_s <= sought.precision
    assert all(trial.run.valid for trial in found.trials if trial.held)
    assert all(way.give_up for way in fake.ways[1:]), "a trial ends when its outcome is certain"


def test_a_search_on_a_machine_too_busy_to_measure_ends_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = OneAtATime()
    fake.lag_ms = 50.0
    monkeypatch.setattr(search, "measure", fake)
    found = one("a REST", PART, Sought({"a": 400}, 60), 60, lambda _: None)
    assert found.best_per_s is None
    assert len(found.trials) == 2, "tried once more, and then no further"
    (reason,) = undecided(found)
    assert "could not be judged" in reason
    assert "send lag" in reason


def test_a_search_begins_no_trial_that_would_end_after_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = OneAtATime()
    monkeypatch.setattr(search, "measure", fake)
    told: list[str] = []
    found = one("a REST", PART, Sought({"a": 400}, 60), 7, told.append)  # a trial takes 8 s
    assert len(fake.ways) == 1, "the closed loop that says where to begin"
    assert found.best_per_s is None
    assert undecided(found) == ["a REST: there was no time to try a single rate"]
    assert "no time is left" in told[-1]


def scrape(items: dict[str, float]) -> list[Any]:
    from prometheus_client.samples import Sample as Metric

    name = "attendant_batch_items"
    labels = {"task": "a"}
    buckets = [
        Metric(f"{name}_bucket", {**labels, "le": bound}, items[bound]) for bound in ("1.0", "+Inf")
    ]
    total = [Metric(f"{name}_sum", labels, items["sum"]),
             Metric(f"{name}_count", labels, items["+Inf"])]  # fmt: skip
    return [*buckets, *total]


def test_batch_rows_are_those_between_two_scrapes_in_single_buckets() -> None:
    before = scrape({"1.0": 5, "+Inf": 6, "sum": 9})
    after = scrape({"1.0": 7, "+Inf": 12, "sum": 31})
    (rows,) = batch_rows(before, after)
    assert (rows.task, rows.kind, rows.count, rows.rows) == ("a", "batch", 6, 22)
    assert rows.up_to == {"1.0": 2, "+Inf": 4}
