"""Addresses have passwords in them, and what is wrong with one is told without it."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from muster_queue.index.connection import IndexSettings
from muster_queue.storage.settings import StorageSettings


@pytest.mark.parametrize(
    ("url", "more"),
    [
        ("postgresql//user:s3cret@host/muster", {}),
        ("user s3cret host", {}),
        ("postgresql://user:s3cret@host/muster", {"MUSTER_DATABASE_CONNECTIONS": "0"}),
    ],
)
def test_a_bad_setting_of_the_database_tells_no_password(
    monkeypatch: pytest.MonkeyPatch, url: str, more: dict[str, str]
) -> None:
    for name, value in {"MUSTER_DATABASE_URL": url, **more}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as refused:
        StorageSettings()
    assert "s3cret" not in str(refused.value)
    assert "database_" in str(refused.value)


def test_a_bad_setting_of_the_index_tells_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSTER_REDIS_URL", "redis://:s3cret@host")
    monkeypatch.setenv("MUSTER_REDIS_MODE", "s3cret")
    with pytest.raises(ValidationError) as refused:
        IndexSettings()
    assert "s3cret" not in str(refused.value)
