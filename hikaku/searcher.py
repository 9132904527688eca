"""Ray Tune's view of the referee: a Searcher that asks it for the next trial and remembers nothing."""

from typing import Any

import ray
from ray.tune.search import Searcher

UID = "uid"


class RefereeSearcher(Searcher):
    """Hands Tune the referee's trials one by one; `referee` is the name of its actor.

    Tune pickles its searcher on its own schedule. All this one carries is the actor's name, so no such copy can hold a second opinion.
    """

    def __init__(self, referee: str) -> None:
        super().__init__()
        self._name = referee
        self._uids: dict[str, str] = {}

    def __reduce__(self) -> tuple[type["RefereeSearcher"], tuple[str]]:
        return type(self), (self._name,)

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        """Return the flat config of the next trial, or FINISHED when the referee has no more."""
        config = ray.get(ray.get_actor(self._name).next_trial.remote())
        if config is None:
            return self.FINISHED
        self._uids[trial_id] = config[UID]
        return config

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the referee of a trial whose workers died once too often; all others told it themselves."""
        uid = self._uids.pop(trial_id)
        if error:
            ray.get(
                ray.get_actor(self._name).close_failed.remote(uid, "its worker process died, more often than the study's retries allow")
            )

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the referee's store is the memory."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing."""

    def get_state(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Accept nothing."""
