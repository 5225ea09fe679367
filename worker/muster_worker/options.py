"""What a user can set for each kind of job, with defaults under which every example runs as it is."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

LARGEST_SEED = 2**32 - 1


class Backend(StrEnum):
    """What carries gradients between members."""

    AUTO = "auto"
    GLOO = "gloo"
    NCCL = "nccl"


Seed = Annotated[int, Meta(ge=0, le=LARGEST_SEED, description="Everything random follows from it.")]
StepDelay = Annotated[
    int, Meta(ge=0, le=3_600_000, description="Milliseconds of idling after each step, for tests and demonstrations.")
]
Threads = Annotated[int, Meta(ge=1, le=1024, description="Threads of computation on CPU.")]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]


class TrainingOptions(Struct, frozen=True, kw_only=True):
    """Distributed training of a small classifier of handwritten digits."""

    epochs: Annotated[int, Meta(ge=1, le=1_000_000, description="Passes over the training part.")] = 10
    batch_size: Annotated[int, Meta(ge=1, le=1_000_000, description="Samples a step on each rank.")] = 32
    learning_rate: Annotated[float, Meta(gt=0, le=10, description="Of AdamW.")] = 0.003
    hidden_width: Annotated[int, Meta(ge=1, le=65_536, description="Units of each hidden layer.")] = 128
    dropout: Annotated[float, Meta(ge=0, lt=1, description="Share of hidden units left out of a step.")] = 0.1
    seed: Seed = 0
    checkpoint_dir: Annotated[str, Meta(description="Overrides MUSTER_CHECKPOINT_DIR; neither: no checkpoints.")] = ""
    checkpoint_interval: Annotated[int, Meta(ge=1, le=1_000_000_000, description="Steps between checkpoints.")] = 20
    keep_checkpoints: Annotated[int, Meta(ge=1, le=1_000, description="How many of the last ones stay.")] = 3
    log_interval: Annotated[int, Meta(ge=1, le=1_000_000_000, description="Steps between lines of progress.")] = 10
    step_delay_ms: StepDelay = 0
    threads: Threads = 1
    backend: Annotated[Backend, Meta(description="auto: nccl if each rank has a GPU of its own, else gloo.")] = (
        Backend.AUTO
    )
    join_timeout_seconds: Annotated[Seconds, Meta(description="For all members to find each other.")] = 300.0
    peer_timeout_seconds: Annotated[Seconds, Meta(description="A member silent for longer counts as lost.")] = 60.0
    termination_grace_seconds: Annotated[
        Seconds, Meta(description="After SIGTERM, for all members to stop at one step; then each stops alone.")
    ] = 15.0


class InferenceOptions(Struct, frozen=True, kw_only=True):
    """Classification of the held-out digits, again and again, with latencies."""

    model: Annotated[str, Meta(description="Only digits is there; the log says so if another is named.")] = "digits"
    batch_size: Annotated[int, Meta(ge=1, le=1_000_000, description="Images a call.")] = 32
    rounds: Annotated[int, Meta(ge=1, le=1_000_000, description="Passes over the held-out images.")] = 20
    checkpoint: Annotated[
        str, Meta(description="A checkpoint of a training, or a folder of them; none: a model is trained first.")
    ] = ""
    seed: Seed = 0
    step_delay_ms: StepDelay = 0
    threads: Threads = 1


class SimulationOptions(Struct, frozen=True, kw_only=True):
    """A Monte Carlo estimate of pi whose error shrinks with the square root of the samples."""

    rounds: Annotated[int, Meta(ge=1, le=1_000_000, description="Lines of progress.")] = 20
    samples_per_round: Annotated[int, Meta(ge=1, le=50_000_000, description="Random points a round.")] = 500_000
    seed: Seed = 0
    step_delay_ms: StepDelay = 0
