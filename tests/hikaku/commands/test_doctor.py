"""What `hikaku doctor` says of a machine, of its GPUs and of what is installed."""

import importlib.metadata
from pathlib import Path

import pytest

from hikaku.commands.doctor import examine
from tests.support.fake_gpu import fake_gpu


def states(folder: Path) -> dict[str, tuple[str, str]]:
    return {finding.name: (finding.state, finding.detail) for finding in examine(folder)}


def test_doctor_looks_at_everything_studies_need(tmp_path: Path) -> None:
    findings = states(tmp_path / "not" / "there")
    assert {"Python", "g++", "torch", "ray", "deepspeed", "mlflow", "GPU", "CPUs", "Memory", "State folder", "HF_TOKEN"} <= set(findings)
    assert {state for state, _ in findings.values()} <= {"ok", "warning", "error"}
    assert findings["torch"][0] == "ok"


def test_what_is_installed_is_compared_with_the_packages_own_metadata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = ["torch>=999", "ray[tune]>=2.60,<999", "no-such-library>=1.5", "ninja", 'pyright; extra == "dev"']
    monkeypatch.setattr("importlib.metadata.requires", lambda name: needed if name == "hikaku" else None)
    findings = states(tmp_path)
    assert findings["torch"] == ("error", f"{importlib.metadata.version('torch')}; torch>=999 is needed")
    assert findings["no-such-library"] == ("error", "absent; no-such-library>=1.5 is needed: make setup")
    assert (findings["ray"][0], findings["ninja"][0]) == ("ok", "ok")
    assert not {"pyright", "numpy"} & set(findings)


def test_a_checkout_that_was_never_installed_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> list[str]:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.requires", absent)
    assert states(tmp_path)["hikaku"] == ("error", "is not installed: make setup")


def test_gpus_and_their_driver_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_gpu(tmp_path, monkeypatch, "NVIDIA Toy, 2048, 550.54.15, 9.0")
    assert states(tmp_path)["GPU"] == ("ok", "NVIDIA Toy, 2.0 GiB, driver 550.54.15")
    fake_gpu(tmp_path, monkeypatch, "Unable to determine the device handle", code=15)
    assert states(tmp_path)["GPU"] == ("error", "Unable to determine the device handle")
    monkeypatch.setenv("PATH", "")
    assert states(tmp_path)["GPU"] == ("warning", "none: nvidia-smi is absent, trials run on CPU")
