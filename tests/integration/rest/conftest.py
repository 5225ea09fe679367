from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bones.rest_world import RestWorld, rest_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[RestWorld]:
    async with rest_world(tmp_path) as running:
        yield running
