"""The names that users meet, written out again: tests that took them from the services could not notice a typo."""

from __future__ import annotations

P = "aiplatform.example.com/"
GANG = f"{P}gang"
QUEUE = f"{P}queue"
MANAGED = f"{P}managed"
SIZE = f"{P}gang-size"
MINIMUM = f"{P}gang-min"
PRIORITY = f"{P}priority"
ON_BROKEN = f"{P}on-broken"
RELEASE = f"{P}release"
GATE = f"{P}gang"
MEMBER_MARKER = f"{P}member"
BIND_MARKER = f"{P}bind"
GPU = "nvidia.com/gpu"
RUN_SECONDS = f"{P}simulate-run-seconds"
EXIT_CODE = f"{P}simulate-exit-code"
TERMINATION_MESSAGE = f"{P}simulate-termination-message"
TEST_LABEL = "tests.example.com/of"
"""On the nodes of one test, and in its pods' nodeSelector: no two tests share room."""

Manifest = dict[str, object]
