"""Quantities are read as the API server reads them, and counted in whole units."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster_api.quantities import QuantityError, parse_quantity, resource_units


@pytest.mark.parametrize(
    ("resource", "text", "units"),
    [
        ("cpu", "500m", 500),
        ("cpu", "2", 2000),
        ("cpu", "0.1", 100),
        ("cpu", "1500u", 2),
        ("memory", "1Gi", 2**30),
        ("memory", "1.5Gi", 3 * 2**29),
        ("memory", "128974848", 128974848),
        ("memory", "129e6", 129_000_000),
        ("memory", "129M", 129_000_000),
        ("memory", "1E3", 1000),
        ("memory", "1E", 10**18),
        ("memory", "100m", 1),
        ("nvidia.com/gpu", "8", 8),
        ("memory", "999999E", 2**63 - 1),
        ("cpu", "+1", 1000),
    ],
)
def test_units(resource: str, text: str, units: int) -> None:
    assert resource_units(resource, text) == units


@pytest.mark.parametrize("text", ["", "x", "1x", "1 Gi", " 1", "Gi", "1_000", "nan", "inf", "1.2.3", "--1", "1Kii"])
def test_nonsense_is_refused_with_examples(text: str) -> None:
    with pytest.raises(QuantityError, match="500m"):
        parse_quantity(text)


@given(st.text(max_size=20))
def test_any_text_is_a_quantity_or_refused(text: str) -> None:
    try:
        parse_quantity(text)
    except QuantityError as error:
        assert error.text == text
