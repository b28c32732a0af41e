"""Folding: what is heard is encoded position by position, silence behind it in groups."""

import numpy as np
import pytest

from service.speech.folding import GROUP, MARGIN, POSITIONS, STEP, begins


@pytest.mark.parametrize("duration_s", [0.0, 0.5, 7.3, 11.5, 27.4])
def test_what_is_heard_is_not_in_groups(duration_s: float) -> None:
    found = begins(duration_s)
    assert found is not None
    sizes = np.diff([*found, POSITIONS])
    heard = round(duration_s * 50)
    assert (sizes[: heard + MARGIN] == 1).all()
    assert set(sizes.tolist()) == {1, GROUP}
    assert found[0] == 0


def test_a_window_that_is_almost_full_has_no_groups() -> None:
    assert begins(27.6) is None
    assert begins(30.0) is None


def test_there_are_few_lengths() -> None:
    found = [begins(duration_s) for duration_s in np.arange(0, 30, 0.02)]
    assert len({len(each) for each in found if each is not None}) == POSITIONS // STEP - 1
