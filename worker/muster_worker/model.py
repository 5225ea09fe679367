"""The model: two hidden layers of any width, enough for digits."""

from __future__ import annotations

import torch

from muster_worker.digits import CLASSES, PIXELS


def build_model(hidden_width: int, dropout: float) -> torch.nn.Sequential:
    """Weights come from torch's current seed."""
    return torch.nn.Sequential(
        torch.nn.Linear(PIXELS, hidden_width),
        torch.nn.ReLU(),
        torch.nn.Dropout(dropout),
        torch.nn.Linear(hidden_width, hidden_width),
        torch.nn.ReLU(),
        torch.nn.Dropout(dropout),
        torch.nn.Linear(hidden_width, CLASSES),
    )


def be_deterministic(threads: int) -> None:
    """The same numbers each time; few threads, since several members may share a machine."""
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(threads)
