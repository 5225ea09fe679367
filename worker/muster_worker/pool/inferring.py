"""Inference for a pool: a classifier of handwritten digits that is fitted once and then answers every job's batch."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import lru_cache
from threading import Lock
from typing import Annotated, Any

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from muster_worker.digits import PIXELS, Samples, load_digits
from muster_worker.pool.handlers import Report, options_of

BRIGHTEST = 16.0
_MOST_SHOWN = 1000
_FITTING = Lock()

Pixel = Annotated[float, Meta(ge=0, le=BRIGHTEST)]
Image = Annotated[list[Pixel], Meta(min_length=PIXELS, max_length=PIXELS)]


class PoolInferenceOptions(Struct, frozen=True, kw_only=True):
    """Images to be classified: the job's own, or so many of the held-out ones, whose digits are known."""

    inputs: Annotated[
        list[Image], Meta(max_length=10_000, description="Images of 8 x 8 pixels, row by row, each from 0 to 16.")
    ] = []
    count: Annotated[int, Meta(ge=1, le=100_000, description="Held-out images, where there are no inputs.")] = 32
    batch_size: Annotated[int, Meta(ge=1, le=10_000, description="Images that are classified at once.")] = 32
    model: Annotated[str, Meta(description="Only digits is there; the result says which one answered.")] = "digits"
    seed: Annotated[int, Meta(ge=0, le=2**32 - 1, description="Which of the held-out images.")] = 0


def infer(config: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """Classes and confidences; with held-out images also how many were right."""
    options = options_of(PoolInferenceOptions, config)
    model, held_out = _fitted()
    images, labels = _inputs(options, held_out)
    begun = time.perf_counter()
    classes: list[int] = []
    confidences: list[float] = []
    for start in range(0, len(images), options.batch_size):
        shares = model.predict_proba(images[start : start + options.batch_size])
        classes += [int(each) for each in shares.argmax(axis=1)]
        confidences += [round(float(each), 4) for each in shares.max(axis=1)]
        report.progress(min(1.0, (start + options.batch_size) / len(images)))
    seconds = time.perf_counter() - begun
    return {
        "model": "digits",
        "count": len(images),
        "classes": classes[:_MOST_SHOWN],
        "confidences": confidences[:_MOST_SHOWN],
        "accuracy": None if labels is None else round(float(np.mean(np.array(classes) == labels)), 6),
        "images_per_second": round(len(images) / max(seconds, 1e-9), 1),
    }


def _inputs(options: PoolInferenceOptions, held_out: Samples) -> tuple[NDArray[np.float32], NDArray[np.int64] | None]:
    if options.inputs:
        return np.array(options.inputs, dtype=np.float32) / np.float32(BRIGHTEST), None
    chosen = np.random.default_rng(options.seed).integers(0, len(held_out), options.count)
    return held_out.images[chosen], held_out.labels[chosen]


def _fitted() -> tuple[LogisticRegression, Samples]:
    """Several threads may ask at once for what is fitted only by the first."""
    with _FITTING:
        return _fit()


@lru_cache(maxsize=1)
def _fit() -> tuple[LogisticRegression, Samples]:
    digits = load_digits()
    model = LogisticRegression(max_iter=400)
    model.fit(digits.training.images, digits.training.labels)
    return model, digits.held_out
