"""Real texts, tokenizers and tables, where HIKAKU_REAL_DATA names a folder of them; they are no part of the project."""

import os
from pathlib import Path

import pytest

REAL = Path(os.environ.get("HIKAKU_REAL_DATA", "no-real-data"))

needs_real_data = pytest.mark.skipif("HIKAKU_REAL_DATA" not in os.environ, reason="HIKAKU_REAL_DATA names no folder of real inputs")
