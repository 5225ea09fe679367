"""Pods that do their work at once: they end well soon after they have begun to run."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from bones.job_stage import JobStage
from bones.kube import KubeError
from bones.stage import phase_of


def end_pods(jobs: JobStage) -> None:
    """Every pod that runs ends well."""
    for name, pod in jobs.kube.items("pods", jobs.namespace).items():
        if phase_of(pod) == "Running":
            jobs.end(name)


@contextmanager
def ending_pods(jobs: JobStage) -> Iterator[None]:
    """Pods end soon after they have begun to run, as long as this lasts."""
    stop = threading.Event()

    def go_on() -> None:
        while not stop.wait(0.3):
            try:
                end_pods(jobs)
            except (KubeError, OSError):
                continue

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
