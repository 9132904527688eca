"""What every method is."""

from pydantic import BaseModel, ConfigDict


class Method(BaseModel):
    """What every method is: fields that are hyperparameters, and how a model is made trainable, saved and loaded."""

    model_config = ConfigDict(extra="forbid", frozen=True)
