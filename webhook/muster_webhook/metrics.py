"""What the webhook tells Prometheus."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY: Final = CollectorRegistry()

REQUESTS: Final = Counter(
    "muster_webhook_requests",
    "Admission requests answered, by path and result: allowed, patched, denied, or refused when not understood.",
    ["path", "result"],
    registry=REGISTRY,
)
SECONDS: Final = Histogram(
    "muster_webhook_request_seconds",
    "Time from the complete request to the answer, by path.",
    ["path"],
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25),
    registry=REGISTRY,
)
CERTIFICATE_EXPIRY: Final = Gauge(
    "muster_webhook_certificate_expiry_timestamp_seconds",
    "When the certificate in use expires; it is replaced when a third of its life is left.",
    registry=REGISTRY,
)
