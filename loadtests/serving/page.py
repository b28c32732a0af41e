"""docs/serving.json → docs/serving.md: what each command does, and what it saw when last recorded.

`python -m loadtests.serving.page` writes it.
"""

from collections.abc import Sequence
from pathlib import Path

from loadtests.serving.verdict import RECORDS, Record, Records, Row, read

PAGE = Path("docs/serving.md")
HEAD = """# What serving holds

Written by `make serving-page` from [serving.json](serving.json); not edited by hand.

Twelve commands start servers of their own, on free ports and with a copy of the model store, do
something to them, print a table of what they tried and what they saw, and exit with 1 on a miss.
Every random choice follows from `--seed`. Options go into `ARGS`, as in
`make soak ARGS="--minutes 60 --seed 7"`; `ARGS=--help` lists them, and
`--record docs/serving.json` keeps the table. Short forms of all of them run in `make test`.

Under a rate, requests are due at the moments of a Poisson process that waits for nobody, and a
request's time counts from when it was due. A 99th percentile is claimed only of enough requests:
459 where none was late, 662 where one was, 838 where two were, and so on, so that a claim is wrong
in at most 1 % of runs. A refusal or an error is late; a trial whose caller sent late itself is
void. Answers are held against those that the same request got alone.
"""
COMMANDS = {
    "bench-serving": """`make bench-serving DATA_DIR=...` measures one server at a time, all with
the same weights, requests and threads.

- *batching*: the highest rate of German test sentences of Tatoeba, every tenth of them ten times
  as long, that a server answers within a second in 99 of 100 cases, found by halving the gap
  between a rate that holds and one that does not. Attendant with continuous and with
  request-level batching, and CTranslate2 int8 behind FastAPI, which collects for 10 ms.
- *speech*: seconds of audio that are transcribed in a second for 8 callers with recordings of 5 to
  30 s, by Attendant, faster-whisper int8 behind FastAPI and `vllm`'s own server.
- *overload*: three times the highest rate for a minute, from clients that name their deadline; the
  highest rate is found with the same callers.
- *cancellation*: processor time of long requests that are left after the first streamed token,
  against that of the same ones answered.

Peers run in `build/peers/peers-serving` and `build/peers/peers-vllm`; one that is not installed is
skipped. It takes about half an hour; a quick look that proves nothing:
`ARGS="--percentile 0.9 --duration-s 10 --overload-s 10"`.""",
    "bench-overhead": """`make bench-overhead` asks servers that give a short text back, with no
model behind them: our doors, LitServe, FastAPI and a bare grpc.aio, in turns, round by round. The
rates of one round are held against each other. `and its threads`: through the queue of a task.""",
    "bench-surfaces": """`make bench-surfaces` asks one server the same of the same models by
our own doors and by the APIs of other servers, in turns, round by round, and holds each API against
our door by the median of the rounds' ratios: at least 0.9 of its requests a second, and for a
graph's tensors in bytes at least as many.""",
    "bench-first": """`make bench-first` times the first text of streams on an idle server,
one after the other: of live speech from when the first sample leaves, sent as fast as it is spoken,
and of a streamed translation.""",
    "bench-hour": """`make bench-hour DATA_DIR=...` sends an hour of speech in one request:
recordings of several speakers, joined with nothing between them. Its words are held against those
of the same recordings one by one, and the server's memory against that before. Then they come in a
random order, where another speaker begins every few seconds. `ARGS="--minutes 8"` is a short
form.""",
    "bench-import": """`make bench-import` makes a checkpoint of OPUS-MT's shape with random
weights, imports it, serves it and asks it for a translation: the time from the start of
`python -m models import` to the answer, and the memory of all that the import takes.""",
    "soak": """`make soak` puts everything on a server at once: requests of many shapes over both
doors, also streamed, and by the APIs of other servers, each held against the answer it gets alone,
live speech, requests of new shapes, callers who leave, paths that are not there, uploads that break
off, and nonsense. Memory, file descriptors, threads and metric series are taken all the time; the
first quarter is the warm-up.""",
    "chaos": """`make chaos` does one fault after the other to servers under load: SIGKILL of the
worker, SIGSTOP for a while and for good, a model that is damaged when the worker starts again, a
disk on which nothing can be written (RLIMIT_FSIZE), a clock that jumps (libfaketime, where it is
installed), a newer version of a model (SIGHUP) and SIGTERM while requests keep arriving. Everything
has to be right again in under 10 s, by those who ask all the time; meanwhile there may be answers,
refusals in words and nobody there, and nothing else. Only what a process that is ended had accepted
may be lost.""",
    "fuzz": """`make fuzz` sends 10,000 generated requests to each door: what schemathesis makes of
`/openapi.json` and bodies that Hypothesis makes of the fields, half of the share each;
random, changed, huge and cancelled protobuf messages; and raw bytes: cut, with a wrong length,
pipelined, ambiguous, trickling; requests, streams and sockets of the other APIs. 503 and 504 are
honest where they are problem+json; any other 5xx,
INTERNAL or UNKNOWN is a miss, as is a reply that the document does not allow, a worker that died,
an error in the log that nobody handled, and a task that answers its example wrongly afterwards.
Failing requests are kept in `build/serving/fuzz`.""",
    "bench-batch": """`make bench-batch` has offline batch ([batch.md](batch.md)) and the engine
that it feeds answer the same items on the same cores, in turns, round by round, and holds the batch
against the engine by the median of the rounds' ratios. Then a batch of translations is killed
(SIGKILL) at random moments and begun again each time, and its rows are held against those of one
that nobody disturbed.""",
    "bench-ray": """`make bench-ray` asks one replica on Ray Serve
([deploy-ray.md](deploy-ray.md)) and the service alone the same on one machine, in turns, round by
round: answers a second of the one over those of the other, by the median of the rounds' ratios,
latency, and the processor time of all processes of the server. The callers run on the same cores
and pause for nobody.""",
    "bench-workers": """`make bench-workers` times one worker with one thread for one caller and for
32, simulates queues with what it found ([fleet.py](../loadtests/scale/fleet.py)), and holds that
against the highest rate of Poisson arrivals that 1 and 2 workers (`ATTENDANT_WORKERS`) hold here.
The callers take a share of the cores, which the simulation leaves to them. Connections go to
whichever worker takes them first, which lies between `random` and `least` (the fewest under way).
Then it simulates more workers than there are cores here, each with cores of its own. Every worker
holds all the models that need no network.""",
}


def cells(row: Row) -> list[str]:
    met = f"**{row.met}**" if row.met == "no" else row.met
    return [
        text.replace("|", "\\|").replace("\n", " ")
        for text in (row.tried, row.saw, row.wanted, met)
    ]


def markdown(rows: Sequence[Row]) -> str:
    lines = [["tried", "saw", "wanted", "met"], ["---"] * 4, *map(cells, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def recorded(record: Record) -> str:
    terms = ", ".join(f"{key} {value}" for key, value in record.terms.items())
    return f"{record.date}, {record.machine}; {terms}.\n\n{markdown(record.rows)}"


def section(name: str, records: Records) -> str:
    """A command, and its record or those of its parts: each is named behind a comma."""
    own = [kept for key, kept in records.commands.items() if key.partition(", ")[0] == name]
    seen = map(recorded, own) if own else ["Not recorded yet."]
    return "\n\n".join([f"## make {name}", *filter(None, [COMMANDS.get(name)]), *seen])


def page(records: Records) -> str:
    known = dict.fromkeys([*COMMANDS, *(key.partition(", ")[0] for key in records.commands)])
    sections = [section(name, records) for name in known]
    return "\n\n".join([HEAD.rstrip(), *sections]) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(read(RECORDS)))
