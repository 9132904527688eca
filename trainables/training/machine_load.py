"""How busy the machine is while a trial trains, under the names that MLflow's page of system metrics knows, and the energy its GPU took.

A GPU is asked through NVML, where the extra `nvml` is installed; without it there are only the figures of the machine.
"""

from typing import Any

import psutil

MEGABYTE, KWH = 1e6, 3.6e9  # bytes, millijoules


class MachineLoad:
    """The load since the last look of the machine and of this worker's GPU, and the energy of as many GPUs as there are workers.

    `before` is the energy in kWh that was taken before an interruption.
    """

    def __init__(self, before: float = 0.0, workers: int = 1) -> None:
        self._energy_before, self._workers = before, workers
        psutil.cpu_percent()  # what it says next is the load from here on
        self._nvml, self._gpu = _open_gpu()  # both None where no GPU can be asked
        self._counter_before = self._read_energy()

    def read(self) -> dict[str, float]:
        """Return the metrics `system/*`: of the processors since the last call, of everything else at this moment."""
        memory = psutil.virtual_memory()
        load = {
            "system/cpu_utilization_percentage": psutil.cpu_percent(),
            "system/system_memory_usage_megabytes": memory.used / MEGABYTE,
            "system/system_memory_usage_percentage": memory.percent,
        }
        if self._gpu is None:
            return load
        used = self._nvml.nvmlDeviceGetMemoryInfo(self._gpu)
        return load | {
            "system/gpu_0_utilization_percentage": float(self._nvml.nvmlDeviceGetUtilizationRates(self._gpu).gpu),
            "system/gpu_0_memory_usage_megabytes": used.used / MEGABYTE,
            "system/gpu_0_memory_usage_percentage": 100 * used.used / used.total,
            "system/gpu_0_power_usage_watts": self._nvml.nvmlDeviceGetPowerUsage(self._gpu) / 1000,
        }

    def energy_kwh(self) -> float | None:
        """Return what the GPUs took up to now, this one standing for each, with whatever else ran on it; None where no counter is read."""
        now = self._read_energy()
        if now is None or self._counter_before is None:
            return None
        return self._energy_before + self._workers * (now - self._counter_before) / KWH

    def _read_energy(self) -> float | None:
        """Return NVML's counter in millijoules; GPUs older than Volta have none."""
        if self._gpu is None:
            return None
        try:
            return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._gpu))
        except self._nvml.NVMLError:
            return None


def _open_gpu() -> tuple[Any, Any]:
    """Return NVML and this worker's GPU in it; (None, None) without a GPU, without NVML, or where it refuses."""
    import torch

    if not torch.cuda.is_available():
        return None, None
    try:
        import pynvml  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None, None
    try:
        pynvml.nvmlInit()
        # By uuid: NVML counts all GPUs of the machine, torch only those that this process may see.
        uuid = torch.cuda.get_device_properties(torch.cuda.current_device()).uuid
        gpu = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
        for ask in (pynvml.nvmlDeviceGetMemoryInfo, pynvml.nvmlDeviceGetUtilizationRates, pynvml.nvmlDeviceGetPowerUsage):
            ask(gpu)  # a part of a GPU (MIG) answers some of these and not others
    except pynvml.NVMLError:
        return None, None
    return pynvml, gpu
