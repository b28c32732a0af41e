"""headers of a request → its deadline and its priority, by the same rules on both doors.

`grpc-timeout: 500m` is gRPC's own deadline: up to eight digits and a unit, of H, M, S, m, u and n.
On REST it means the same, as it does at grpc-gateway, which took it to HTTP first:
https://grpc.io/docs/guides/deadlines, https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md

`priority: u=1` is RFC 9218: urgency from 0, the first, to 7, the last; 3 where nothing is said.
Other members, such as the `i` that browsers send, are left alone. Unlike the RFC, which ignores
what it cannot read, an urgency that is none is refused: who sends it believes that it works.
"""

import re

from service.errors import MalformedRequest

TIMEOUT = "grpc-timeout"
PRIORITY = "priority"
UNITS_S = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
TIMEOUT_FORM = re.compile(r"([0-9]{1,8})([HMSmun])")
DEFAULT_URGENCY = 3
LAST_URGENCY = 7


def timeout_s(value: str | None) -> float | None:
    """Seconds that the client waits, or None where it does not say; raises MalformedRequest."""
    if value is None:
        return None
    form = TIMEOUT_FORM.fullmatch(value.strip())
    if form is None:
        raise MalformedRequest(
            "not a timeout: send 1 to 8 digits and a unit of H, M, S, m, u or n, as in 500m",
            TIMEOUT,
        )
    if not int(form[1]):
        raise MalformedRequest("a timeout is over 0", TIMEOUT)
    return int(form[1]) * UNITS_S[form[2]]


def priority(value: str | None) -> int:
    """How far before others a request goes: 3 (urgency 0) to -4 (urgency 7), 0 where not said."""
    urgency = DEFAULT_URGENCY
    for member in (value or "").split(","):
        name, _, said = member.partition(";")[0].strip().partition("=")
        if name == "u":
            if not re.fullmatch("[0-9]", said) or int(said) > LAST_URGENCY:
                raise MalformedRequest(
                    f"the urgency u is a number from 0, the first, to {LAST_URGENCY}", PRIORITY
                )
            urgency = int(said)
    return DEFAULT_URGENCY - urgency
