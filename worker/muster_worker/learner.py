"""Model, optimizer and position of one member, always in step with each other."""

from __future__ import annotations

from dataclasses import asdict
from threading import Lock
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch.nn.parallel import DistributedDataParallel

from muster_worker.digits import Digits, Samples
from muster_worker.gang import Gang, peers_needed
from muster_worker.model import build_model
from muster_worker.options import TrainingOptions
from muster_worker.position import Position, Schedule, batch_indices, epoch_order, step_seed


class Measured(NamedTuple):
    """One member's part of a step."""

    loss: float
    correct: int


class Learner:
    """`measure` and `advance` are a step; in between the gang can still decide not to take it."""

    def __init__(self, options: TrainingOptions, schedule: Schedule, gang: Gang, digits: Digits) -> None:
        self.position = Position()
        self._options = options
        self._schedule = schedule
        self._gang = gang
        self._training = _on_device(digits.training, gang.device)
        self._held_out = _on_device(digits.held_out, gang.device)
        self._lock = Lock()
        torch.manual_seed(options.seed)
        self._model = build_model(options.hidden_width, options.dropout).to(gang.device)
        self._optimizer = torch.optim.AdamW(self._model.parameters(), lr=options.learning_rate)
        self._order = epoch_order(schedule, 0)
        devices = [gang.device] if gang.device.type == "cuda" else None
        with peers_needed("comparing models"):
            self._parallel = DistributedDataParallel(self._model, device_ids=devices)

    def settle(self) -> None:
        """A step that changes nothing.

        DistributedDataParallel packs gradients anew after its first step, and how they are packed decides in which
        order they are added up. After this step every further one is packed, and therefore rounded, alike, whether
        the process has just been resumed or has run from the beginning.
        """
        self.measure()
        self._optimizer.zero_grad()

    def measure(self) -> Measured:
        """Loss, hits and gradients of the step at `position`; the gradients are those of all members together."""
        indices = batch_indices(self._order, self.position, self._schedule, self._gang.place.rank)
        images, labels = self._batch(indices)
        torch.manual_seed(step_seed(self._options.seed, self.position.step, self._gang.place.rank))
        self._optimizer.zero_grad()
        with peers_needed(f"computing step {self.position.step + 1}"):
            scores = self._parallel(images)
            loss = torch.nn.functional.cross_entropy(scores, labels)
            loss.backward()
        return Measured(float(loss.item()), _hits(scores, labels))

    def advance(self) -> None:
        """Takes the step that was measured."""
        with self._lock:
            self._optimizer.step()
            self._move(self.position.after_step(self._schedule))

    def evaluate(self) -> float:
        """The share of held-out digits that is recognized; each member looks at some of them."""
        place = self._gang.place
        images = self._held_out[0][place.rank :: place.world_size]
        labels = self._held_out[1][place.rank :: place.world_size]
        self._model.eval()
        with torch.no_grad():
            correct = _hits(self._model(images), labels)
        self._model.train()
        total_correct, total = self._gang.sums([correct, len(labels)], "evaluating")
        return total_correct / total

    def state(self) -> dict[str, Any]:
        """What another process needs to take exactly the next steps. From any thread."""
        with self._lock:
            return {
                "position": asdict(self.position),
                "model": _copied(self._model.state_dict()),
                "optimizer": _copied(self._optimizer.state_dict()),
            }

    def restore(self, state: dict[str, Any]) -> None:
        with self._lock:
            self._model.load_state_dict(state["model"])
            self._optimizer.load_state_dict(state["optimizer"])
            self.position = Position()
            self._move(Position(**state["position"]).aligned(self._schedule))

    def _move(self, position: Position) -> None:
        if position.epoch != self.position.epoch:
            self._order = epoch_order(self._schedule, position.epoch)
        self.position = position

    def _batch(self, indices: NDArray[Any]) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = torch.from_numpy(indices).to(self._gang.device)
        return self._training[0][chosen], self._training[1][chosen]


def _on_device(samples: Samples, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(samples.images).to(device), torch.from_numpy(samples.labels).to(device)


def _hits(scores: torch.Tensor, labels: torch.Tensor) -> int:
    return int((scores.argmax(dim=1) == labels).sum().item())


def _copied(value: Any) -> Any:
    """On the CPU and apart from the original, which the next step changes."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copied(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_copied(each) for each in value]
    return value
