"""What answers to probes add up to."""

from __future__ import annotations

import pytest

from muster_local.process_node.probe_rules import Port, Probe, Verdicts, port_number


def test_one_failure_shakes_nothing() -> None:
    verdicts = Verdicts(Probe(failure_threshold=3, success_threshold=1), holds=True)
    told = [verdicts.add(success) for success in (True, False, False, True, False, False, False)]
    assert told == [True, False, False, True, False, False, True]
    assert not verdicts.holds


def test_several_successes_may_be_asked_for() -> None:
    verdicts = Verdicts(Probe(success_threshold=2), holds=False)
    assert [verdicts.add(True), verdicts.holds, verdicts.add(True), verdicts.holds] == [False, False, True, True]


def test_ports_have_names() -> None:
    ports = [Port(name="http", container_port=8000)]
    assert [port_number(port, ports) for port in (80, "http", "81")] == [80, 8000, 81]
    with pytest.raises(ValueError, match="nothing"):
        port_number("nothing", ports)
