"""An imported model and the library it is from → how far they agree: the gate of every import.

One file per task. The library is asked in the checkpoint's own folder; ours is asked as the service
will: the task's pre-processing with the assets that were made, then the torch module. It is the
library's word that counts, so this needs the development environment, and serving never does.

The library is asked first, and gone before ours is: both are mapped, so that only one is in memory.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from export.refusal import Refusal

TOLERANCE = 1e-4
"""Of a number beside the largest of its array; both sides compute in float32."""


class Disagreement(Refusal):
    """The imported model does not do what the library does with the same checkpoint."""


@dataclass(frozen=True)
class Agreement:
    """How far both agree, once nothing differs by more than the tolerance."""

    differences: Mapping[str, float]
    """What was compared → the largest difference, as a share of the largest value."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Where not everything can be compared: what was, and what was left out → how many."""


def difference(what: str, ours: ArrayLike, theirs: ArrayLike) -> float:
    """The largest difference as a share of their largest value; raises `Disagreement`."""
    mine, reference = np.asarray(ours, np.float32), np.asarray(theirs, np.float32)
    if mine.shape != reference.shape:
        raise Disagreement(f"{what}: ours has shape {mine.shape}, the library's {reference.shape}")
    apart = np.abs(mine - reference)
    share = float(apart.max(initial=0.0) / max(np.abs(reference).max(initial=0.0), 1e-9))
    if not share <= TOLERANCE:  # NaN fails too
        at = tuple(int(i) for i in np.unravel_index(apart.argmax(), apart.shape))
        raise Disagreement(
            f"{what}: differs by {apart.max():.3g} at {at}, {share:.3g} of the largest value; "
            f"the tolerance is {TOLERANCE:g}"
        )
    return share


def same(what: str, ours: object, theirs: object) -> float:
    """Token ids or texts, which agree or do not; raises `Disagreement`."""
    if ours != theirs:
        raise Disagreement(f"{what}: ours is {ours}, the library's {theirs}")
    return 0.0


def check(task: str, folder: Path, model: Any, assets: Path) -> Agreement:
    """Compare a module and its assets with the library's reading of a checkpoint folder."""
    module = import_module(f"export.agreement.{task.replace('-', '_')}")
    compare: Callable[[Path, Any, Path], Agreement] = module.compare
    return compare(folder, model, assets)
