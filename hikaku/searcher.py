"""Ray Tune's view of the referee: a Searcher that asks it for the next trial and remembers nothing."""

from typing import Any

from ray.tune.search import Searcher

from trainables.trial import ask_actor


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

    def suggest(self, trial_id: str) -> Any:
        """Return the flat config of the next trial, or FINISHED when the referee has no more."""
        config: dict[str, Any] | None = ask_actor(self._name, "next_trial")
        if config is None:
            return self.FINISHED
        self._uids[trial_id] = config["uid"]
        return config

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the referee of a trial whose workers died once too often; all others told it themselves."""
        uid = self._uids.pop(trial_id)
        if error:
            reason = "its worker process died, more often than the study's retries allow"
            ask_actor(self._name, "close_failed", uid=uid, reason=reason)

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the referee's store is the memory."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing."""

    def get_state(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Accept nothing."""
