"""What hikaku uses of libraries that they do not promise to keep: each is looked at here, so that an upgrade which takes one away fails
first in this file, with the place that needs it, and not in the middle of a study.

Where one of these fails after an upgrade: find what has taken its place in the library, change the module that the list names, then here.
"""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.house import House


def find_optuna_hypervolume() -> None:
    import numpy as np
    from optuna import _hypervolume

    assert _hypervolume.compute_hypervolume(np.array([[1.0, 1.0]]), np.array([2.0, 3.0])) == 2.0


def find_optuna_study_ids() -> None:
    import optuna

    storage = optuna.storages.InMemoryStorage()
    study: Any = optuna.create_study(storage=storage)
    (frozen,) = storage.get_all_studies()
    trial = study.ask()
    assert vars(frozen)["_study_id"] == study._study_id
    assert storage.get_trial_id_from_study_id_trial_number(study._study_id, 0) == trial._trial_id


def find_optuna_contains() -> None:
    import optuna

    distribution: Any = optuna.distributions.FloatDistribution(0.0, 1.0)
    assert distribution._contains(0.5)
    assert not distribution._contains(2.0)


def find_ray_environment() -> None:
    from ray.train.v2._internal import constants

    assert isinstance(constants.ENV_VARS_TO_PROPAGATE, set)
    assert "ENV_VARS_TO_PROPAGATE" in inspect.getsource(constants.get_env_vars_to_propagate)


def find_ray_trainer() -> None:
    from ray.train.torch import TorchTrainer
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    assert issubclass(TorchTrainer, DataParallelTrainer)


def find_deepspeed_caches() -> None:
    from deepspeed.runtime.zero import parameter_offload

    assert isinstance(parameter_offload.FWD_MODULE_STACK, list)
    releases = vars(parameter_offload.PartitionedParameterCoordinator)["_PartitionedParameterCoordinator__params_to_release"]
    assert callable(inspect.getclosurevars(releases).nonlocals["func"].cache_clear)


def find_ray_addresses() -> None:
    from ray._common.utils import get_default_ray_temp_dir, get_ray_address_file
    from ray._private import services

    assert Path(get_ray_address_file(None)).parent == Path(get_default_ray_temp_dir())
    assert callable(vars(services)["find_bootstrap_address"])


def find_transformers_attention() -> None:
    from transformers import Qwen2Config

    assert hasattr(Qwen2Config(), "_attn_implementation")


def find_torch_dispatch() -> None:
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    assert callable(TorchDispatchMode.__torch_dispatch__)
    tensor = torch.zeros(2)
    assert tree_leaves({"a": [tensor, 1]}) == [tensor, 1]
    assert tensor.untyped_storage()._cdata == tensor[1:].untyped_storage()._cdata


# module and private name -> what looks at it. A use that `find_private_doors` cannot see by its underscore has a name in brackets.
DOORS: dict[tuple[str, str], Callable[[], None]] = {
    ("analysis.statistics.importance", "_contains"): find_optuna_contains,
    ("analysis.statistics.pareto", "optuna._hypervolume.compute_hypervolume"): find_optuna_hypervolume,
    ("hikaku.search.arm_studies", "_study_id"): find_optuna_study_ids,
    ("hikaku.search.trial_store", "_study_id"): find_optuna_study_ids,
    ("hikaku.search.cluster", "ray._common.utils.get_default_ray_temp_dir"): find_ray_addresses,
    ("hikaku.search.cluster", "ray._common.utils.get_ray_address_file"): find_ray_addresses,
    ("hikaku.search.cluster", "ray._private.services"): find_ray_addresses,
    ("trainables.jobs.facts", "_attn_implementation"): find_transformers_attention,
    ("trainables.process", "ray.train.v2._internal.constants"): find_ray_environment,
    ("trainables.process", "(DataParallelTrainer)"): find_ray_trainer,
    ("trainables.training.engine", "(caches of ZeRO 3)"): find_deepspeed_caches,
    ("trainables.training.live_tensors", "torch.utils._python_dispatch.TorchDispatchMode"): find_torch_dispatch,
    ("trainables.training.live_tensors", "torch.utils._pytree.tree_leaves"): find_torch_dispatch,
    ("trainables.training.live_tensors", "_cdata"): find_torch_dispatch,
}


@pytest.mark.parametrize("door", DOORS, ids=lambda door: f"{door[0]} {door[1]}")
def test_the_private_part_of_a_library_is_still_there(door: tuple[str, str]) -> None:
    module, name = door
    try:
        DOORS[door]()
    except Exception as error:
        raise AssertionError(f"{module} needs {name}, which this version of the library no longer has as it was: {error!r}") from error


def test_no_other_private_part_is_used() -> None:
    used = {(place.module, place.code) for place in House().find_private_doors()}
    assert used == {door for door in DOORS if not door[1].startswith("(")}, "give a new use its check in DOORS, and take an old one out"
