"""Where state lies, and which paths cannot hold it."""

from pathlib import Path

import pytest

from records.places import state_root


@pytest.mark.parametrize("name", ["100%25", "what?", "c#", "a b%?#"])
def test_a_path_that_a_database_uri_cannot_hold_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"^--state: got '.+'; allowed: a path without [%?#, ]+, since"):
        state_root(tmp_path / name)
    monkeypatch.setenv("HIKAKU_STATE", str(tmp_path / name))
    with pytest.raises(ValueError, match=r"^HIKAKU_STATE: got "):
        state_root(None)
    assert state_root(tmp_path / "a b") == tmp_path / "a b"
