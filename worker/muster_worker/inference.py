"""Inference: a trained classifier of digits answers batches, and the log tells how fast and how well."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from muster_worker.checkpoints import Checkpoint, CheckpointFolder, load_checkpoint
from muster_worker.digits import Digits, Samples, load_digits
from muster_worker.errors import RefusedError
from muster_worker.model import be_deterministic, build_model
from muster_worker.options import InferenceOptions
from muster_worker.workplace import Workplace

_ONLY_MODEL = "digits"
_HIDDEN_WIDTH = 64
_TRAINING_STEPS = 150
_TRAINING_BATCH = 128


def infer(options: InferenceOptions, workplace: Workplace) -> dict[str, Any]:
    """Every member answers for itself; there is nothing to exchange."""
    be_deterministic(options.threads)
    if options.model != _ONLY_MODEL:
        workplace.log.warning("model_substituted", asked=options.model, used=_ONLY_MODEL)
    digits = load_digits()
    model = _model(options, workplace, digits).eval()
    accuracy, seconds = 0.0, [0.0]
    for number in range(1, options.rounds + 1):
        accuracy, seconds = _round(model, digits.held_out, options.batch_size)
        workplace.log.info("round", round=number, accuracy=round(accuracy, 6), **_latency(seconds, digits.held_out))
        workplace.termination.idle(options.step_delay_ms / 1000)
    return {"rounds": options.rounds, "accuracy": round(accuracy, 6), **_latency(seconds, digits.held_out)}


def _round(model: torch.nn.Module, samples: Samples, batch_size: int) -> tuple[float, list[float]]:
    """The accuracy over all samples, and how long each batch took."""
    images, labels = torch.from_numpy(samples.images), torch.from_numpy(samples.labels)
    correct, seconds = 0, []
    for batch, expected in zip(images.split(batch_size), labels.split(batch_size), strict=True):
        begin = time.perf_counter()
        with torch.no_grad():
            answers = model(batch).argmax(dim=1)
        seconds.append(time.perf_counter() - begin)
        correct += int((answers == expected).sum().item())
    return correct / len(samples), seconds


def _latency(seconds: list[float], samples: Samples) -> dict[str, float]:
    return {
        "p50_ms": round(float(np.percentile(seconds, 50)) * 1000, 3),
        "p99_ms": round(float(np.percentile(seconds, 99)) * 1000, 3),
        "samples_per_second": round(len(samples) / sum(seconds), 1),
    }


def _model(options: InferenceOptions, workplace: Workplace, digits: Digits) -> torch.nn.Module:
    if not options.checkpoint:
        workplace.log.info("training_a_model", steps=_TRAINING_STEPS)
        return _quickly_trained(digits.training, options.seed)
    checkpoint = _checkpoint(Path(options.checkpoint), workplace)
    model = build_model(int(checkpoint["options"]["hidden_width"]), dropout=0.0)
    model.load_state_dict(checkpoint["model"])
    return model


def _checkpoint(path: Path, workplace: Workplace) -> Checkpoint:
    """Of a file, or the newest of a folder."""
    try:
        if path.is_dir():
            found = CheckpointFolder(path, keep=1, log=workplace.log).newest()
            path, checkpoint = found if found else (path, None)
        else:
            checkpoint = load_checkpoint(path)
    except Exception as error:
        # A file that is no checkpoint can fail in any way inside of zip, pickle and torch.
        raise RefusedError(f"checkpoint: {path} cannot be read: {error}") from error
    if checkpoint is None:
        raise RefusedError(f"checkpoint: {path} holds none that can be read; accepted is a checkpoint or a folder")
    workplace.log.info("loaded", path=str(path), step=checkpoint["position"]["step"])
    return checkpoint


def _quickly_trained(samples: Samples, seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    model = build_model(_HIDDEN_WIDTH, dropout=0.0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.005)
    images, labels = torch.from_numpy(samples.images), torch.from_numpy(samples.labels)
    random = np.random.default_rng(seed)
    for _ in range(_TRAINING_STEPS):
        chosen = torch.from_numpy(random.choice(len(samples), _TRAINING_BATCH, replace=False))
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images[chosen]), labels[chosen]).backward()
        optimizer.step()
    return model
