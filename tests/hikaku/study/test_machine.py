"""What nvidia-smi tells, well or badly, and the precision that a device means."""

from pathlib import Path

import pytest

from hikaku.study.machine import Device, Gpu, choose_precision, read_gpus, read_machine, resolve_precision
from tests.support.fake_gpu import fake_gpu
from trainables.config import Precision


def test_gpus_are_read_and_the_smallest_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_gpu(
        tmp_path, monkeypatch, "NVIDIA A100, 40960, 550.54.15, 8.0", "Tesla T4, 15360, 550.54.15, 7.5", "NVIDIA GB10, [N/A], 580.1, [N/A]"
    )
    assert read_gpus() == (
        Gpu("NVIDIA A100", 40.0, "550.54.15", 8.0),
        Gpu("Tesla T4", 15.0, "550.54.15", 7.5),
        Gpu("NVIDIA GB10", None, "580.1", None),
    )
    machine = read_machine(tmp_path / "not" / "there")
    assert (machine.gpus, machine.gpu_gib, machine.gpu_bf16) == (("NVIDIA A100", "Tesla T4", "NVIDIA GB10"), 15.0, False)


@pytest.mark.parametrize(
    ("lines", "code", "says"),
    [
        (("Failed to initialize NVML",), 0, "Failed to initialize NVML"),
        (("No devices were found",), 6, "No devices were found"),
        ((), 9, "nvidia-smi ended with code 9"),
    ],
)
def test_a_tool_that_fails_says_why_and_is_no_gpu(
    lines: tuple[str, ...], code: int, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_gpu(tmp_path, monkeypatch, *lines, code=code)
    with pytest.raises(RuntimeError, match=f"^{says}$"):
        read_gpus()
    assert read_machine(tmp_path).gpus == ()


def test_without_the_tool_there_is_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError):
        read_gpus()
    assert read_machine(tmp_path).gpus == ()


def test_precision_is_what_the_device_has() -> None:
    plain, able = Device("cpu", "a CPU", bf16=False), Device("cpu", "a newer CPU", bf16=True)
    old, new = Device("gpu", "an old GPU", bf16=False), Device("gpu", "a GPU", bf16=True)
    assert [resolve_precision("auto", device) for device in (plain, able, old, new)] == ["fp32", "fp32", "fp16", "bf16"]
    assert [resolve_precision("bf16", device) for device in (plain, able, new)] == ["bf16"] * 3
    assert resolve_precision("fp16", old) == "fp16"
    lacking: dict[Precision, Device] = {"bf16": old, "fp16": able}
    for asked, device in lacking.items():
        with pytest.raises(ValueError, match=f"training.precision: got {asked}"):
            resolve_precision(asked, device)
    with pytest.raises(ValueError, match=r"arms\.lora\.space\.model\.precision: got fp16, which is for GPUs"):
        resolve_precision("fp16", able, "arms.lora.space.model.precision")
    assert choose_precision("fp16", plain) == "fp16"  # a plan for another machine
