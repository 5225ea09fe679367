"""Distributed training that can be ended at any moment and goes on with exactly the steps it would have taken."""

from __future__ import annotations

import math
import time
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import msgspec

from muster_worker.checkpoints import CheckpointFolder, require_same_options
from muster_worker.digits import Digits, load_digits
from muster_worker.errors import DivergedError, PeerLostError, RefusedError, TerminatedError
from muster_worker.gang import Gang, join_gang
from muster_worker.learner import Learner, Measured
from muster_worker.model import be_deterministic
from muster_worker.options import TrainingOptions
from muster_worker.position import Schedule
from muster_worker.progress_log import ProgressLog
from muster_worker.workplace import Workplace

CHECKPOINT_DIR = "MUSTER_CHECKPOINT_DIR"

_SHAPING = ("batch_size", "learning_rate", "hidden_width", "dropout", "seed")
"""The options that the loss sequence depends on."""


class Totals(NamedTuple):
    """A step's figures over all members."""

    loss: float
    correct: float
    told_to_stop: float


def train(options: TrainingOptions, workplace: Workplace) -> dict[str, Any]:
    """Joins the gang, goes on from the newest checkpoint if there is one, and returns the final figures."""
    log = workplace.log
    be_deterministic(options.threads)
    digits = load_digits()
    schedule = _schedule(options, workplace, digits)
    checkpoints = _checkpoints(options, workplace)
    gang = join_gang(workplace.place, options)
    log.info("joined", backend=str(gang.backend), device=str(gang.device))
    training = Training(options, schedule, workplace, Learner(options, schedule, gang, digits), gang)
    training.keep_in(checkpoints)
    workplace.termination.entrust(training.rescue, options.termination_grace_seconds)
    return training.run()


def _schedule(options: TrainingOptions, workplace: Workplace, digits: Digits) -> Schedule:
    schedule = Schedule(
        seed=options.seed,
        training_size=len(digits.training),
        batch_size=options.batch_size,
        world_size=workplace.place.world_size,
    )
    if schedule.steps_per_epoch == 0:
        most = schedule.training_size // schedule.world_size
        accepted = f"at most {most}" if most else f"a gang of at most {schedule.training_size} members"
        raise RefusedError(
            f"batch_size: {options.batch_size} samples on each of {schedule.world_size} ranks are more than the "
            f"{schedule.training_size} there are; accepted is {accepted}"
        )
    return schedule


def _checkpoints(options: TrainingOptions, workplace: Workplace) -> CheckpointFolder | None:
    """Rank 0 alone keeps checkpoints: the others get theirs from it, so that no storage has to be shared."""
    named = options.checkpoint_dir or workplace.environment.get(CHECKPOINT_DIR, "")
    if not workplace.place.is_first:
        return None
    if not named:
        workplace.log.warning("no_checkpoints", message=f"neither checkpoint_dir nor {CHECKPOINT_DIR} is set")
        return None
    return CheckpointFolder(Path(named), options.keep_checkpoints, workplace.log)


class Training:
    """The loop over steps, and its orderly ends."""

    def __init__(
        self, options: TrainingOptions, schedule: Schedule, workplace: Workplace, learner: Learner, gang: Gang
    ) -> None:
        self._options = options
        self._schedule = schedule
        self._workplace = workplace
        self._learner = learner
        self._gang = gang
        self._checkpoints: CheckpointFolder | None = None
        self._saving = Lock()
        self._saved_step = 0
        self._stopping = False
        self._pace = Pace()

    @property
    def _log(self) -> ProgressLog:
        return self._workplace.log

    def keep_in(self, checkpoints: CheckpointFolder | None) -> None:
        """Takes up the newest checkpoint of the folder; all members get rank 0's state, or its refusal."""
        self._checkpoints = checkpoints
        state: dict[str, Any] | None = None
        refusal: Exception | None = None
        try:
            state = self._newest_state()
        except Exception as error:
            refusal = error
        state, refusal = self._gang.from_first((state, refusal), "sharing the checkpoint")
        if refusal is not None:
            raise refusal
        if state is not None:
            self._learner.restore(state)
            self._saved_step = self._learner.position.step

    def run(self) -> dict[str, Any]:
        """All steps that are left; raises TerminatedError after an orderly stop before the end."""
        try:
            self._learner.settle()
            self._take_steps()
            figures = self._finish()
            self._gang.leave()
        except PeerLostError as lost:
            saved = self.rescue()
            if self._stopping or self._workplace.termination.requested:
                raise TerminatedError(f"stopped at step {self._learner.position.step}; {saved}") from lost
            raise PeerLostError(f"{lost}; {saved}") from lost
        return figures

    def rescue(self) -> str:
        """Saves the last complete step, which needs no peer; from any thread."""
        if self._checkpoints is None:
            return "rank 0 keeps the checkpoints" if not self._workplace.place.is_first else "no checkpoints are kept"
        return f"the checkpoint is at step {self._save()}"

    def _newest_state(self) -> dict[str, Any] | None:
        if self._checkpoints is None:
            return None
        self._checkpoints.prepare()
        found = self._checkpoints.newest()
        if found is None:
            return None
        path, checkpoint = found
        require_same_options(path, checkpoint["options"], self._shaping())
        self._log.info("resumed", path=str(path), **checkpoint["position"])
        if checkpoint["world_size"] != self._schedule.world_size:
            message = f"the checkpoint is of {checkpoint['world_size']} members: from here on the losses are others"
            self._log.warning("world_size_changed", message=message)
        return {name: checkpoint[name] for name in ("position", "model", "optimizer")}

    def _shaping(self) -> dict[str, Any]:
        values = msgspec.structs.asdict(self._options)
        return {name: values[name] for name in _SHAPING}

    def _take_steps(self) -> None:
        self._pace.start(self._learner.position.step)
        while (epoch := self._learner.position.epoch) < self._options.epochs:
            totals = self._take_step()
            self._report(totals, epoch)
            if totals.told_to_stop:
                self._stop()
            if self._learner.position.step % self._options.checkpoint_interval == 0:
                self._save()
            if self._learner.position.epoch > epoch:
                self._end_epoch(epoch)
            if self._options.step_delay_ms:
                self._workplace.termination.idle(self._options.step_delay_ms / 1000)

    def _take_step(self) -> Totals:
        step = self._learner.position.step + 1
        measured = self._learner.measure()
        totals = self._total(measured, step)
        if not math.isfinite(totals.loss):
            raise DivergedError(f"the loss of step {step} is {totals.loss}; a smaller learning_rate may help")
        self._learner.advance()
        return totals

    def _total(self, measured: Measured, step: int) -> Totals:
        """The wish of one member to stop is everybody's after the same step."""
        told = float(self._workplace.termination.requested)
        loss, correct, told_to_stop = self._gang.sums([measured.loss, measured.correct, told], f"adding up step {step}")
        return Totals(loss / self._schedule.world_size, correct, told_to_stop)

    def _report(self, totals: Totals, epoch: int) -> None:
        step = self._learner.position.step
        if self._workplace.place.is_first and step % self._options.log_interval == 0:
            self._log.info(
                "step",
                epoch=epoch,
                step=step,
                loss=totals.loss,
                accuracy=totals.correct / self._schedule.samples_per_step,
                samples_per_second=self._pace.steps_per_second(step) * self._schedule.samples_per_step,
            )

    def _end_epoch(self, epoch: int) -> None:
        accuracy = self._learner.evaluate()
        if self._workplace.place.is_first:
            step = self._learner.position.step
            self._log.info("epoch", epoch=epoch, step=step, held_out_accuracy=round(accuracy, 6))

    def _stop(self) -> None:
        self._stopping = True
        saved = self.rescue()
        self._gang.meet("stopping")
        raise TerminatedError(f"stopped at step {self._learner.position.step}; {saved}")

    def _save(self) -> int:
        """Does nothing where nothing is kept or the step is saved already; returns the step that is safe."""
        with self._saving:
            if self._checkpoints is None or self._saved_step == self._learner.position.step:
                return self._saved_step
            state = self._learner.state()
            step = int(state["position"]["step"])
            try:
                path = self._checkpoints.save(
                    step, {"options": self._shaping(), "world_size": self._schedule.world_size, **state}
                )
            except OSError as error:
                # The training itself is well: it goes on, and with the next checkpoint the disk may be too.
                self._log.error("checkpoint_failed", step=step, message=str(error))
                return self._saved_step
            self._log.info("checkpoint", step=step, path=str(path))
            self._saved_step = step
            return step

    def _finish(self) -> dict[str, Any]:
        self._save()
        accuracy = self._learner.evaluate()
        position = self._learner.position
        return {"epoch": position.epoch, "step": position.step, "accuracy": round(accuracy, 6)}


class Pace:
    """Steps a second since the last line of progress."""

    def __init__(self) -> None:
        self.start(0)

    def start(self, step: int) -> None:
        self._step = step
        self._time = time.monotonic()

    def steps_per_second(self, step: int) -> float:
        now = time.monotonic()
        pace = (step - self._step) / max(now - self._time, 1e-9)
        self._step, self._time = step, now
        return round(pace, 3)
