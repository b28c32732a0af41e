"""bytes → the same bytes cut, flipped, doubled or mixed with others, as a Hypothesis strategy."""

from collections.abc import Sequence
from random import Random

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

INTERESTING = (
    b"\x00",
    b"\xff",
    b"\x7f\xff\xff\xff",
    b"\xff" * 10,
    b"\r\n",
    b"{",
    b"%s",
    b"\xc3\x28",
)


def mutate(content: bytes, random: Random) -> bytes:
    """One to four changes at random places."""
    changed = bytearray(content)
    for _ in range(random.randint(1, 4)):
        at = random.randint(0, len(changed))
        match random.randrange(5):
            case 0 if at < len(changed):
                changed[at] ^= 1 << random.randrange(8)
            case 1:
                del changed[at : at + random.randint(1, 64)]
            case 2:
                changed[at:at] = random.choice(INTERESTING)
            case 3:
                changed[at:at] = changed[at : at + random.randint(1, 64)]
            case _:
                del changed[at:]
    return bytes(changed)


def mutated(contents: Sequence[bytes]) -> SearchStrategy[bytes]:
    """Changed forms of one of these."""
    return st.builds(
        lambda content, seed: mutate(content, Random(seed)),
        st.sampled_from(contents),
        st.integers(0, 2**32),
    )
