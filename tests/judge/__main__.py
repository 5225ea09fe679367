"""The judge: watches an API server until it is told to stop, then says whether the invariants held.

It prints "watching" once every list is in; on SIGTERM or SIGINT it waits until the cluster is quiet, judges and exits:
0 all held, 1 a violation, 2 inconclusive because events were lost. It shares no code with what it judges.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
import time
from pathlib import Path

import aiohttp
import msgspec

from judge.kubeconfig import load_connection
from judge.records import GangRecord, History, PodRecord, read_history, write_history
from judge.verdict import Verdict, judge_history
from judge.watching import RESOURCES, Watcher

QUIET_SECONDS = 1.0


def main() -> int:
    options = _options()
    if options.replay:
        history, end = list(read_history(options.out)), None
    else:
        history = asyncio.run(watch(options.kubeconfig, options.settle_seconds))
        end = time.monotonic()
        write_history(options.out, history)
    limit = options.repair_seconds + options.slack_seconds
    verdict = judge_history(history, partial_limit=limit, end=end, at_rest=not options.in_motion)
    text = msgspec.json.format(msgspec.json.encode(verdict), indent=1)
    options.out.with_suffix(".report.json").write_bytes(text)
    if options.report or verdict.exit_code:
        sys.stdout.write(text.decode() + "\n")
    sys.stdout.write(_headline(verdict))
    return verdict.exit_code


async def watch(kubeconfig: Path, settle_seconds: float) -> list[History]:
    """Follow all resources until a signal comes and the cluster has been quiet for a moment."""
    history: list[History] = []
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    connection = load_connection(kubeconfig)
    async with aiohttp.ClientSession(headers=connection.headers) as session:
        watchers = [Watcher(session, connection, resource, history) for resource in RESOURCES]
        tasks = [asyncio.create_task(watcher.run()) for watcher in watchers]
        for watcher in watchers:
            await watcher.synced.wait()
        sys.stdout.write("watching\n")
        sys.stdout.flush()
        await stop.wait()
        await _settle(history, settle_seconds)
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
    return history


async def _settle(history: list[History], limit: float) -> None:
    """Let what is in flight arrive: return once pods and gangs were quiet, or when the limit is reached."""
    end = time.monotonic() + limit
    quiet_since, seen = time.monotonic(), len(history)
    while time.monotonic() < min(end, quiet_since + QUIET_SECONDS):
        await asyncio.sleep(0.05)
        if any(isinstance(record, GangRecord | PodRecord) for record in history[seen:]):
            quiet_since = time.monotonic()
        seen = len(history)


def _headline(verdict: Verdict) -> str:
    word = {0: "held", 1: "VIOLATED", 2: "INCONCLUSIVE"}[verdict.exit_code]
    return (
        f"invariants {word}: {verdict.counts}, {len(verdict.violations)} violations, longest partial "
        f"{verdict.longest_partial_seconds} s, longest standstill {verdict.longest_standstill_seconds} s\n"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="judge", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, help="who to watch as; needs to read everything")
    parser.add_argument("--out", type=Path, required=True, help="the history; the report lies beside it")
    parser.add_argument("--report", action="store_true", help="print the whole report, not only the headline")
    parser.add_argument("--replay", action="store_true", help="judge the history in --out again")
    parser.add_argument("--repair-seconds", type=float, default=60.0, help="the gangs' repair deadline")
    parser.add_argument("--slack-seconds", type=float, default=10.0, help="allowed beyond it")
    parser.add_argument("--settle-seconds", type=float, default=20.0, help="longest wait for quiet at the end")
    parser.add_argument("--in-motion", action="store_true", help="do not judge the end as a state of rest")
    options = parser.parse_args()
    if not options.replay and options.kubeconfig is None:
        parser.error("--kubeconfig is needed to watch")
    return options


if __name__ == "__main__":
    sys.exit(main())
