"""The Ray cluster a study runs on: started or joined, asked what it has, and kept quiet."""

import contextlib
import logging
import os
import re
import socket
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import ray
from ray._common.utils import get_default_ray_temp_dir, get_ray_address_file
from ray._private import services
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from hikaku.study.machine import Device
from hikaku.study.sections import Resources
from hikaku.study.study import Study
from records.files import make_folder
from records.refusals import Refusal
from trainables.process import ENVIRONMENT, Share, drop_launchers

_RAY: Any = ray  # whose own annotations leave most types open
_SERVICES: Any = services
ANSWER_SECONDS = 10.0
SOCKET = "/session_2026-11-26_23-59-59_999999_4194304/sockets/dash_MetricsHead"  # Ray's longest, of the largest process id
SOCKET_BYTES = 103 if sys.platform == "darwin" else 107
CPU_BF16 = re.compile(r"\b(avx512_bf16|amx_bf16|bf16)\b")  # as Linux names them in /proc/cpuinfo, x86 and ARM


@contextlib.contextmanager
def open_cluster(address: str | None, logs: Path) -> Generator[None]:
    """Join the cluster at `address`, or of RAY_ADDRESS, or start one on this machine; leave it at the end, unless it was joined before.

    Ray's own messages go to `ray.log` in `logs`. A local cluster has its dashboard: without it the resources of trials that are stopped
    from outside are never given back. What other launchers left in the environment is put aside meanwhile. Raises ValueError as
    `check_address` does, and when no cluster answers.
    """
    make_folder(logs)
    _log_to_file(logs / "ray.log")
    os.environ.update(ENVIRONMENT | {"RAY_USAGE_STATS_ENABLED": "0"})
    address = check_address(address)
    with contextlib.ExitStack() as left:
        left.callback(os.environ.update, drop_launchers(ranks=True))
        if not _RAY.is_initialized():
            _join(address)
            left.callback(_RAY.shutdown)
        yield


def check_address(address: str | None) -> str:
    """Return the address of the cluster to join, `local` for one to be started here, after seeing that it can be.

    Raises ValueError, in one line, for a client's address, one where nothing listens, a file that names a cluster that has ended, and a
    temporary folder whose name is too long for the sockets of a local cluster.
    """
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    if address.startswith("ray://"):
        raise Refusal("address", address, "host:port of a cluster this machine belongs to, or a Ray job submitted to it")
    if address == "local":
        _refuse_long_sockets()
    else:
        # Ray takes `auto` from a file that `ray start` wrote, and that a machine's crash leaves behind.
        listening: str | None = _SERVICES.find_bootstrap_address(None) if address == "auto" else address
        _refuse_silence(listening or address, f" ({get_ray_address_file(None)} names it)" if address == "auto" else "")
    return address


def _join(address: str) -> None:
    local = {"include_dashboard": True, "num_cpus": _count_cpus()}
    options: dict[str, Any] = local if address == "local" else {"runtime_env": {"env_vars": ENVIRONMENT}}
    try:
        _RAY.init(address=address, log_to_driver=False, configure_logging=False, **options)
    except (ConnectionError, RuntimeError) as error:
        raise ValueError(f"no Ray cluster answers at {address}: {str(error).splitlines()[0]}") from None


def _refuse_long_sockets() -> None:
    """Raise ValueError when a local cluster's sockets would have longer names than the system allows, which Ray finds out late."""
    folder = get_default_ray_temp_dir()
    longest = len(os.fsencode(folder)) + len(SOCKET)
    if longest > SOCKET_BYTES:
        fault = f"Ray's sockets in {folder} would have names of {longest} bytes"
        raise Refusal("RAY_TMPDIR" if "RAY_TMPDIR" in os.environ else "TMPDIR", fault=fault, allowed=f"{SOCKET_BYTES}: set RAY_TMPDIR=/tmp")


def _refuse_silence(address: str, origin: str = "") -> None:
    """Raise ValueError when nothing listens at host:port, for which Ray itself would wait many minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        try:
            socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS).close()
        except OSError as error:
            raise ValueError(f"no Ray cluster answers at {address}{origin}: {error}") from None


def _count_cpus() -> int | None:
    """Return the CPUs this process may use where those are fewer than the machine's, which Ray would count; None leaves it to Ray."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return allowed if allowed is not None and allowed < (os.cpu_count() or 1) else None


def _log_to_file(path: Path) -> None:
    """Send what Ray logs in this process to a file. `ray.init` clears the handlers of `ray` itself, so its parts have their own."""
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for name in ("ray._private", "ray.tune", "ray.train", "ray.data", "ray.air", "ray.util"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.WARNING)


def check_machines(study: Study, folder: Path) -> None:
    """Refuse several machines where the trials would be kept in SQLite, or where one does not see the state folder. Raises ValueError."""
    nodes: list[dict[str, Any]] = [node for node in _RAY.nodes() if node["Alive"]]
    refuse_sqlite(study, len({node["NodeManagerAddress"] for node in nodes}))
    here = _RAY.get_runtime_context().get_node_id()
    for node in nodes:
        if node["NodeID"] != here:
            place = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            sees = _RAY.remote(num_cpus=0, scheduling_strategy=place)(Path.is_dir).remote(folder)
            if not _RAY.get(sees):
                absent = f"{folder} is not there on {node['NodeManagerAddress']}"
                raise Refusal("--state", fault=absent, allowed="a folder that all machines share")


def refuse_sqlite(study: Study, machines: int) -> None:
    """Raise ValueError when a study of several machines would keep its trials in SQLite."""
    if machines > 1 and (study.storage is None or study.storage.startswith("sqlite")):
        allowed = "a server's URL, e.g. storage: postgresql+psycopg://user@host/optuna"
        raise Refusal("storage", fault=f"SQLite does not serve {machines} machines", allowed=allowed)


def share_of(resources: Resources) -> Share:
    """Return what one trial takes of the cluster: `gpus_per_worker: auto` is 1 where the cluster has any GPU."""
    gpus = resources.gpus_per_worker
    if gpus == "auto":
        gpus = 1.0 if _RAY.cluster_resources().get("GPU", 0) >= 1 else 0.0
    return Share(workers=resources.workers, cpus=resources.cpus_per_worker, gpus=gpus, retries=resources.retries)


def count_concurrent(resources: Resources, share: Share) -> int:
    """Return how many trials run at once. Raises ValueError when not even one fits."""
    has: dict[str, float] = _RAY.cluster_resources()
    fitting = share.fits(has.get("CPU", 0), has.get("GPU", 0))
    if fitting < 1:
        needs = f"{share.workers} x ({share.cpus:g} CPU, {share.gpus:g} GPU)"
        held = f"{has.get('CPU', 0):g} CPU, {has.get('GPU', 0):g} GPU"
        raise Refusal("resources", fault=f"a trial needs {needs}; the cluster has {held}")
    return fitting if resources.concurrent_trials == "auto" else resources.concurrent_trials


def read_device(share: Share) -> Device:
    """Return the device of the trials, asked on a node that has it."""
    if share.gpus:
        return _RAY.get(_RAY.remote(num_cpus=0, num_gpus=share.gpus)(_read_gpu).remote())
    return read_cpu()


def read_cpu() -> Device:
    """Return this machine's CPU; bf16 where it has instructions for it, since without them bf16 is slower than fp32."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        lines = ""
    name = re.search(r"^model name\s*: (.*)$", lines, re.MULTILINE)
    return Device("cpu", name.group(1) if name else "CPU", CPU_BF16.search(lines) is not None)


def _read_gpu() -> Device:
    import torch

    from trainables.training.machine_load import MachineLoad

    metered = MachineLoad().energy_kwh() is not None
    return Device("gpu", torch.cuda.get_device_name(), torch.cuda.is_bf16_supported(including_emulation=False), metered)
