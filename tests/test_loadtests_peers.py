"""fake engines in real worker processes: turns, failures, reasons, and the page of figures."""

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import fake_engine
import numpy as np
import pytest
from safetensors.numpy import save_file

from loadtests.peers import record, report, sizes, works
from loadtests.peers.asked import seen
from loadtests.peers.chart import draw
from loadtests.peers.engines import peers
from loadtests.peers.peer import INPUTS, JOB, REFERENCE, Peer
from loadtests.peers.quality import DIFFERENCE, EQUAL_TOKENS, ERRORS, JUDGES, SAME_CLASS, judge
from loadtests.peers.race import Terms, race
from loadtests.peers.record import Benchmarks, Machine, Raced, Size, WorkRecord
from loadtests.peers.works import WORKS, Work

ROUNDS = 4
PEERS = {peer.variant: peer for peer in fake_engine.PEERS}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    source = np.arange(12).reshape(4, 3)
    np.savez(tmp_path / INPUTS, source=source)
    np.save(tmp_path / REFERENCE, 2 * source)
    (tmp_path / JOB).write_text(json.dumps({"kind": "translation"}))
    return tmp_path


def raced(folder: Path, *variants: str, **terms: float) -> dict[str, Raced]:
    return race(
        [PEERS[variant] for variant in variants],
        folder,
        terms=Terms(
            (1, 4),
            threads=1,
            rounds=ROUNDS,
            environments=folder,
            turn_s=0.01,
            pause_s=0.0,
            turn_limit_s=terms.get("turn_limit_s", 20.0),
        ),
        quality=judge("translation", folder),
        say=lambda text: None,
    )


def test_peers_take_turns_and_never_run_at_once(folder: Path) -> None:
    found = raced(folder, "good", "wrong")
    turns = [json.loads(line) for line in (folder / "turns.jsonl").read_text().splitlines()]
    measured = [turn for turn in turns if turn["size"] == 4]
    in_order = sorted(turns, key=lambda turn: float(turn["began_s"]))
    for before, after in pairwise(in_order):
        assert before["ended_s"] <= after["began_s"]
    changes = sum(a["name"] != b["name"] for a, b in pairwise(measured))
    assert changes >= ROUNDS
    for peer in found.values():
        assert peer.status == "raced"
        assert {size: len(times) for size, times in peer.seconds.items()} == dict.fromkeys(
            (1, 4), ROUNDS
        )
        assert all(seconds >= 0.002 for times in peer.seconds.values() for seconds in times)


def test_quality_settings_and_versions_of_each_peer_are_recorded(folder: Path) -> None:
    found = raced(folder, "good", "wrong")
    assert found["good"].quality == {EQUAL_TOKENS: 100.0}
    assert found["wrong"].quality == {EQUAL_TOKENS: 0.0}
    assert found["good"].settings == {"threads": "1"}
    assert found["good"].versions == {"numpy": np.__version__}


@pytest.mark.parametrize(
    ("variant", "status", "reason"),
    [
        ("absent", "skipped", "No module named 'no_such_engine'"),
        ("folderless", "skipped", "no model folder"),
        ("broken", "failed", "RuntimeError: cannot load"),
        ("misshapen", "failed", "shape"),
        ("late", "failed", "no answer within 3 s"),
        ("dead", "failed", "died"),
    ],
)
def test_a_peer_that_fails_says_why_and_the_race_goes_on(
    folder: Path, variant: str, status: str, reason: str
) -> None:
    found = raced(folder, variant, "good", turn_limit_s=3.0)
    assert found[variant].status == status
    assert reason in found[variant].reason
    assert not found[variant].seconds
    assert len(found["good"].seconds[4]) == ROUNDS


def test_a_peer_without_its_environment_is_skipped(folder: Path) -> None:
    peer = Peer("elsewhere", "good", ("translation",), "nowhere", "fake_engine")
    found = race(
        [peer],
        folder,
        terms=Terms((1,), threads=1, rounds=1, environments=folder),
        quality=judge("translation", folder),
        say=lambda text: None,
    )
    assert found["elsewhere"].status == "skipped"
    assert "make bench-engines" in found["elsewhere"].reason


def test_outputs_are_judged_by_the_measure_of_their_task() -> None:
    logits = np.array([[1.0, 2.0], [3.0, 1.0]])
    other = np.array([[1.0, 2.5], [1.0, 3.0]])
    assert JUDGES["image"](logits, other) == {SAME_CLASS: 50.0, DIFFERENCE: 2.0}
    said, heard = np.array(["red green blue grey"]), np.array(["Red, green, blue, brown."])
    assert JUDGES["speech"](said, heard) == {ERRORS: 25.0}


def benchmarks(seconds: Mapping[str, float]) -> Benchmarks:
    """One work of two sizes, whose larger batches take three times as long."""
    found = {
        name: Raced(
            status="raced",
            versions={"engine": "1.0"},
            quality={EQUAL_TOKENS: 99.5},
            seconds={1: [one, 1.1 * one, 0.9 * one], 8: [3 * one, 3 * one, 3 * one]},
        )
        for name, one in seconds.items()
    }
    found["vLLM"] = Raced(status="skipped", reason="no environment\nat all")
    where = Machine(
        cpu="a CPU", cores=2, memory_gib=4, flags=["avx2"], system="Linux", python="3.11"
    )
    work = WorkRecord(
        about="some work",
        unit="tokens/s",
        per_batch=32,
        sizes=[1, 8],
        machine=where,
        threads=2,
        rounds=3,
        date="2030-01-01",
        peers=found,
    )
    return Benchmarks(works={"translation-marian": work})


SECONDS = {"Attendant int8": 0.1, "CTranslate2 int8": 0.2, "optimum-intel bf16": 0.16}


def test_the_page_comes_from_the_json_alone(tmp_path: Path) -> None:
    file = tmp_path / "benchmarks.json"
    record.write(benchmarks(SECONDS), file)
    assert report.page(record.read(file)) == report.page(benchmarks(SECONDS))
    assert record.read(tmp_path / "none.json") == Benchmarks()


def test_the_page_has_medians_spread_ratios_quality_and_reasons() -> None:
    page = report.page(benchmarks(SECONDS))
    (ours,) = [line for line in page.splitlines() if line.startswith("| Attendant int8 | 320")]
    assert ours == (
        "| Attendant int8 | 320 (291–356) 1.60x | 853 (853–853) 1.60x | 1.60x "
        "| 99.5 equal tokens, % |"
    )
    assert "| vLLM | – | – |  | skipped: no environment |" in page


def test_ratios_are_against_the_best_of_the_peers_asked_for() -> None:
    rows = [row for row in seen(benchmarks(SECONDS)) if row.ours == "Attendant int8"]
    assert [(row.asked.at_least, round(row.ratio, 2), row.reached) for row in rows] == [
        (1.25, 1.6, True),
        (1.05, 1.6, True),
        (1.5, 2.0, True),
    ]
    raced = ["CTranslate2 int8", "optimum-intel bf16"]
    assert rows[0].against == raced, "and not optimum-intel int8, which was not"
    slow = seen(benchmarks(SECONDS | {"Attendant int8": 0.15}))
    assert not slow[0].reached
    assert "**not reached**" in report.page(benchmarks(SECONDS | {"Attendant int8": 0.15}))


def test_a_model_is_weighed_beside_its_float32(tmp_path: Path) -> None:
    arrays = {"a.int8": np.zeros((40, 100), np.int8), "a.scale": np.zeros(40, np.float32)}
    save_file(arrays | {"b": np.zeros(50, np.float16)}, tmp_path / "weights.safetensors")
    found = sizes.size(tmp_path / "weights.safetensors")
    assert found.float32_bytes == 4 * (40 * 100 + 50)
    assert 4_000 + 160 + 100 < found.on_disk_bytes < 4_800
    page = report.page(
        Benchmarks(sizes={"small": found, "large": Size(on_disk_bytes=4, float32_bytes=8)})
    )
    (small,) = [line for line in page.splitlines() if line.startswith("| small")]
    (large,) = [line for line in page.splitlines() if line.startswith("| large")]
    assert "| 0.3x | 0.2" in small
    assert large.endswith("| 0.3x | 0.50x **not reached** |")


def test_a_chart_is_drawn_for_each_work(tmp_path: Path) -> None:
    draw(benchmarks(SECONDS), tmp_path)
    assert (tmp_path / "translation-marian.png").read_bytes().startswith(b"\x89PNG")


def test_a_work_is_prepared_once_and_again_when_what_decides_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled: list[Path] = []
    work = Work("image", "about", "images/s", 1.0, (1,), lambda folder, data: filled.append(folder))
    assert [work.ready(tmp_path / "work", tmp_path) for _ in range(2)] == [True, False]
    monkeypatch.setattr(works, "fingerprint", lambda: "another")
    assert work.ready(tmp_path / "work", tmp_path)
    assert filled == [tmp_path / "work"] * 2


def test_every_peer_has_a_name_of_its_own_and_a_kind_of_work() -> None:
    known = peers()
    bars = [(peer.name, kind) for peer in known for kind in peer.kinds]
    assert len(set(bars)) == len(bars)
    kinds = {work.kind for work in WORKS.values()}
    assert all(set(peer.kinds) <= kinds for peer in known)
