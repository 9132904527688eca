"""The machine's load under MLflow's names, and the energy of a GPU, whose counter is played here."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from records.metrics import definition_of
from trainables.training.machine_load import MachineLoad


class NoAnswerError(Exception):
    pass


def play_nvml(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> list[str]:
    """Put a GPU and an NVML in their places that know one GPU of 80 GB; return the names it was asked for."""
    asked: list[str] = []
    counter = iter(range(0, 10**12, 1_800_000_000))  # half a kWh a look
    nvml = {
        "NVMLError": NoAnswerError,
        "nvmlInit": lambda: None,
        "nvmlDeviceGetHandleByUUID": lambda uuid: asked.append(uuid) or "handle",
        "nvmlDeviceGetMemoryInfo": lambda gpu: SimpleNamespace(used=20e9, total=80e9),
        "nvmlDeviceGetUtilizationRates": lambda gpu: SimpleNamespace(gpu=97),
        "nvmlDeviceGetPowerUsage": lambda gpu: 350_000,
        "nvmlDeviceGetTotalEnergyConsumption": lambda gpu: next(counter),
    }
    monkeypatch.setitem(sys.modules, "pynvml", SimpleNamespace(**(nvml | changes)))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="1234"))
    return asked


def refuse(gpu: Any) -> Any:
    raise NoAnswerError


def test_without_a_gpu_the_machine_alone_is_told() -> None:
    load = MachineLoad()
    found = load.read()
    assert set(found) == {
        "system/cpu_utilization_percentage",
        "system/system_memory_usage_megabytes",
        "system/system_memory_usage_percentage",
    }
    assert 0 <= found["system/cpu_utilization_percentage"] <= 100
    assert found["system/system_memory_usage_megabytes"] > 10
    assert load.energy_kwh() is None


def test_a_gpu_is_asked_by_its_uuid_and_its_energy_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = play_nvml(monkeypatch)
    load = MachineLoad()
    found = load.read()
    assert asked == ["GPU-1234"]
    assert found["system/gpu_0_utilization_percentage"] == 97
    assert found["system/gpu_0_memory_usage_percentage"] == 25
    assert found["system/gpu_0_power_usage_watts"] == 350
    assert (load.energy_kwh(), load.energy_kwh()) == (0.5, 1.0)
    assert MachineLoad(before=3.0, workers=4).energy_kwh() == 3.0 + 4 * 0.5
    assert all(definition_of(name).unit for name in found)


def test_a_gpu_that_does_not_answer_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    play_nvml(monkeypatch, nvmlDeviceGetTotalEnergyConsumption=refuse)
    load = MachineLoad()
    assert "system/gpu_0_power_usage_watts" in load.read()
    assert load.energy_kwh() is None
    play_nvml(monkeypatch, nvmlDeviceGetUtilizationRates=refuse)
    assert len(MachineLoad().read()) == 3
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert len(MachineLoad().read()) == 3
