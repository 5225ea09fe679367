"""Clients of the queue service that go on whatever dies behind it: they send again what may be sent again."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import urllib3

from bones.kube import Kube, KubeError
from bones.queue_ledger import Entry, Ledger
from bones.queue_orders import Order, some_order
from bones.rest_api import JOBS, Answer, NoAnswerError, RestApi

AGAIN_SECONDS = 0.2
BUSY_SECONDS, IDLE_SECONDS = 0.05, 0.7
"""On average between two acts, while there is something to submit and while there is not."""
BULK = f"{JOBS}bulk"
NOTHING_DONE = frozenset({"away", "overloaded"})
UNKNOWN = "unknown-outcome"
REFUSED_CHANGES = frozenset({409, 412})


class GivenUpError(Exception):
    """The campaign is over before there was an answer."""


class Client(threading.Thread):
    """Submits jobs and changes its mind about them until it has submitted its share."""

    def __init__(self, name: str, seed: str, jobs: int, api: RestApi, kube: Kube, cluster: str, ledger: Ledger) -> None:
        super().__init__(name=name)
        self._chance = random.Random(f"{seed} {name}")
        self._share, self._number = jobs, 0
        self._api, self._kube, self._cluster, self._ledger = api, kube, cluster, ledger
        self._namespace = cluster
        self._end = threading.Event()
        self.progress = 0.0
        """Of the campaign, from 0 to 1: as much of the share is submitted, so that there is always something new."""

    def stop(self) -> None:
        self._end.set()

    def run(self) -> None:
        try:
            while self._number < self._share and not self._end.wait(self._pause()):
                self._act()
        except GivenUpError:
            return
        except Exception as error:
            self._ledger.complain(f"{self.name} broke: {error!r}")
            raise

    def _pause(self) -> float:
        return self._chance.expovariate(1 / (BUSY_SECONDS if self._is_behind else IDLE_SECONDS))

    @property
    def _is_behind(self) -> bool:
        return self._number < self._share * self.progress

    def _act(self) -> None:
        if self._is_behind:
            ways = (self._submit, self._submit_bulk, self._create_object)
            self._chance.choices(ways, weights=(6, 1, 1))[0]()
        self._chance.choices((self._change, self._delete_object), weights=(9, 1))[0]()

    # -- submitting

    def _order(self) -> Order:
        self._number += 1
        order = some_order(self._chance, f"{self.name}-{self._number}")
        self._ledger.open(order)
        return order

    def _submit(self) -> None:
        order = self._order()
        if self._chance.random() < 0.4:
            self._send(order, None)
        elif self._chance.random() < 0.7:
            self._send(order, order.ticket)
            if self._chance.random() < 0.3:
                self._ledger.count("replays")
                self._send(order, order.ticket)
        else:
            self._ledger.count("replays")
            with ThreadPoolExecutor(2) as both:
                for sent in [both.submit(self._send, order, order.ticket) for _ in range(2)]:
                    sent.result()

    def _send(self, order: Order, key: str | None) -> None:
        self._ledger.entries[order.ticket].key = key or ""
        answer = self._sent(JOBS, order.body(self._namespace, self._cluster), key)
        if answer is not None:
            self._ledger.acknowledge(order.ticket, answer.json()["job_id"])

    def _submit_bulk(self) -> None:
        orders = [self._order() for _ in range(self._chance.randint(2, 12))]
        key = f"bulk-{orders[0].ticket}" if self._chance.random() < 0.6 else None
        while orders:
            bodies = [order.body(self._namespace, self._cluster) for order in orders]
            answer = self._sent(BULK, bodies, key)
            if answer is None:
                return
            left = self._note_bulk(orders, answer.json()["items"], is_keyed=key is not None)
            # With a key the whole of it is sent again, since that is what the key stands for.
            orders = orders if left and key is not None else left
            if left:
                self._rest()

    def _note_bulk(self, orders: Sequence[Order], items: Sequence[dict[str, Any]], *, is_keyed: bool) -> list[Order]:
        """Those that are to be sent again."""
        left = list(orders[len(items) :])
        for item in items:
            order = orders[item["index"]]
            kind = item.get("problem", {}).get("type", "").removeprefix("urn:muster:problem:")
            if item["status"] == 201:
                self._ledger.acknowledge(order.ticket, item["job_id"])
            elif kind in NOTHING_DONE or (kind == UNKNOWN and is_keyed):
                left.append(order)
            elif kind != UNKNOWN:
                self._ledger.complain(f"{order.ticket} in a bulk: {item}")
        return left

    def _create_object(self) -> None:
        """With kubectl: whatever order is next has to be one of pods."""
        order = self._order()
        if order.kind.is_of_a_pool:
            self._send(order, order.ticket)
            return
        with contextlib.suppress(KubeError, urllib3.exceptions.HTTPError):
            self._kube.create(order.manifest(self._namespace, self._cluster))
            self._ledger.entries[order.ticket].is_an_object = True

    def _sent(self, path: str, body: Any, key: str | None) -> Answer | None:
        """Until somebody has said what became of it; None where nobody does and it cannot be sent again."""
        headers = {"Idempotency_Key": key} if key is not None else {}
        while True:
            try:
                answer = self._api.ask("POST", path, body, **headers)
            except NoAnswerError:
                self._ledger.count("lost_answers")
                if key is None:
                    return None
            else:
                if answer.status in (201, 207):
                    return answer
                if answer.problem == UNKNOWN and key is None:
                    return None
                if answer.problem not in {*NOTHING_DONE, UNKNOWN}:
                    self._ledger.complain(f"POST {path}: {answer.status} {answer.body.decode()[:300]}")
                    return None
            self._rest()

    def _rest(self) -> None:
        if self._end.wait(AGAIN_SECONDS):
            raise GivenUpError

    # -- changing

    def _change(self) -> None:
        entry = self._ledger.some_acknowledged(self._chance)
        if entry is None:
            return
        self._ledger.count("changes")
        way = self._chance.choice((self._cancel, self._hold, self._release, self._release, self._retry, self._weigh))
        way(entry)

    def _cancel(self, entry: Entry) -> None:
        answer = self._asked("DELETE", entry, "")
        if answer is None or answer.problem == UNKNOWN:
            entry.may_be_cancelled = True
        elif answer.status == 200:
            entry.is_cancelled = True

    def _hold(self, entry: Entry) -> None:
        self._asked("POST", entry, "/hold")

    def _release(self, entry: Entry) -> None:
        self._asked("POST", entry, "/release")

    def _retry(self, entry: Entry) -> None:
        self._asked("POST", entry, "/retry")

    def _weigh(self, entry: Entry) -> None:
        self._asked("PATCH", entry, "", {"priority": self._chance.randrange(101)})

    def _asked(self, method: str, entry: Entry, tail: str, body: Any = None) -> Answer | None:
        try:
            answer = self._api.ask(method, f"{JOBS}{entry.job_id}{tail}", body)
        except NoAnswerError:
            self._ledger.count("lost_answers")
            return None
        expected = answer.status == 200 or answer.status in REFUSED_CHANGES
        if not expected and answer.problem not in {*NOTHING_DONE, UNKNOWN}:
            self._ledger.complain(
                f"{method} {tail} of {entry.order.ticket}: {answer.status} {answer.body.decode()[:300]}"
            )
        return answer

    def _delete_object(self) -> None:
        """With kubectl, as somebody does who knows nothing of the queue service."""
        entry = self._ledger.some_acknowledged(self._chance)
        if entry is None or entry.order.kind.is_of_a_pool:
            return
        entry.may_be_cancelled = True
        name = entry.order.object_name(entry.job_id)
        with contextlib.suppress(KubeError, urllib3.exceptions.HTTPError):
            self._kube.delete("aijobs", name, self._namespace)
