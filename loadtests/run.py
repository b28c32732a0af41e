"""scenarios, doors, callers and seconds → what was measured."""

from collections.abc import Mapping, Sequence

from locust import User
from locust.env import Environment

from loadtests.arrivals import Arrivals
from loadtests.budgets import Door
from loadtests.grpc_user import GrpcUser
from loadtests.http_user import RestUser
from loadtests.report import Recorder
from loadtests.scenarios import Scenario


def run(
    chosen: Sequence[Scenario],
    addresses: Mapping[Door, str],
    *,
    users: int,
    duration_s: float,
    rate_per_s: float | None = None,
) -> Recorder:
    """Put load on all the doors at once; `users` and `rate_per_s` are those of one door.

    Requests that are under way at the end are waited for, so that slow ones count.
    """

    class Rest(RestUser):
        scenarios = chosen
        host = addresses.get(Door.REST, "")
        fixed_count = users
        arrivals = Arrivals(rate_per_s=rate_per_s, duration_s=duration_s)

    class Grpc(GrpcUser):
        scenarios = chosen
        host = addresses.get(Door.GRPC, "")
        fixed_count = users
        arrivals = Arrivals(rate_per_s=rate_per_s, duration_s=duration_s)

    kinds: list[type[User]] = [kind for kind in (Rest, Grpc) if kind.host]
    recorder = Recorder()
    environment = Environment(user_classes=kinds)
    environment.events.request.add_listener(recorder.record)  # type: ignore[no-untyped-call]
    runner = environment.create_local_runner()
    runner.start(users * len(kinds), spawn_rate=users * len(kinds))
    if runner.spawning_greenlet:
        runner.spawning_greenlet.join()
    runner.user_greenlets.join()
    runner.quit()
    return recorder
