"""The data set: 1,797 handwritten digits of 8 x 8 pixels that scikit-learn ships, so that nothing is downloaded."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from muster_worker.errors import RefusedError

PIXELS = 64
CLASSES = 10
HELD_OUT = 360
_BRIGHTEST = 16.0
_SPLIT_SEED = 1797


@dataclass(frozen=True, slots=True)
class Samples:
    """Images as rows of brightness from 0 to 1, with the digit that each shows."""

    images: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Digits:
    """The split is the same for every seed, so that accuracies can be compared."""

    training: Samples
    held_out: Samples


def load_digits() -> Digits:
    """Reads scikit-learn's file itself: importing scikit-learn takes longer than a whole training."""
    table = np.loadtxt(_file(), delimiter=",", dtype=np.float32)
    images, labels = table[:, :PIXELS] / _BRIGHTEST, table[:, PIXELS].astype(np.int64)
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(table))
    held_out, training = order[:HELD_OUT], order[HELD_OUT:]
    return Digits(Samples(images[training], labels[training]), Samples(images[held_out], labels[held_out]))


def _file() -> Path:
    found = find_spec("sklearn")
    for folder in (found.submodule_search_locations or []) if found else []:
        path = Path(folder, "datasets", "data", "digits.csv.gz")
        if path.is_file():
            return path
    raise RefusedError("the digits of scikit-learn are not there; `make worker` installs it")
