"""What every part of a study file, of a trial's configuration and of a card is made of."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Named and typed values: an unknown key is refused, numbers are finite, and nothing changes once it is made."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
