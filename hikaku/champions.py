"""The best of each arm in MLflow's registry: a model named after the study, a version for each champion, an alias for each arm."""

from typing import Any

ARTIFACT = "weights"  # of the champion's run: an adapter, or for full fine-tuning the whole model


def name_champion(arm: str) -> str:
    """Return the alias of an arm's best trial."""
    return f"champion-{arm}"


def register_champion(client: Any, model: str, run_id: str, alias: str, description: str) -> None:
    """Have a run's weights in the registry as a version of a model, and the alias on it; nothing is done twice. `client` is MLflow's."""
    if not client.search_registered_models(filter_string=f"name='{model}'"):
        client.create_registered_model(model, description=f"The best trial of each arm of the study {model}.")
    versions = client.search_model_versions(f"name='{model}'")
    version = next((each for each in versions if each.run_id == run_id), None)
    if version is None:
        version = client.create_model_version(model, f"runs:/{run_id}/{ARTIFACT}", run_id, description=description)
    if str(client.get_registered_model(model).aliases.get(alias)) != str(version.version):
        client.set_registered_model_alias(model, alias, version.version)
