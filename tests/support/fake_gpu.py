"""A stand-in for nvidia-smi, first on the path."""

from pathlib import Path

import pytest


def fake_gpu(folder: Path, monkeypatch: pytest.MonkeyPatch, *lines: str, code: int = 0) -> None:
    """Let nvidia-smi answer with these lines and this exit code, and be the only program on the path."""
    tool = folder / "bin" / "nvidia-smi"
    tool.parent.mkdir(exist_ok=True)
    tool.write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in lines) + f"exit {code}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tool.parent))
