"""What may vary: the grammar of search spaces and its way to Optuna's distributions."""

from typing import Any

from pydantic import RootModel


class SearchSpace(RootModel[dict[str, Any]]):
    """Dotted hyperparameter names and how each varies."""
