"""What tests of the analysis share."""

import pytest

from analysis.guidance.claim_book import ClaimBook, read_claims


@pytest.fixture(scope="session")
def book() -> ClaimBook:
    return read_claims()
