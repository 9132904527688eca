"""How a base model becomes trainable: the methods, once. A method's fields are its hyperparameters.

To add a method: one class, and its line in `METHODS`. What a study's arm may name, what a trial's configuration may hold and what
`hikaku check` lists follow from it.
"""

from typing import TYPE_CHECKING, Annotated, Literal, Union

from pydantic import Field

from trainables.methods.full import Full
from trainables.methods.lora import Lora
from trainables.methods.method import Method

METHODS: dict[str, type[Method]] = {
    "lora": Lora,
    "full": Full,
}
MEASURED_ONLY = "full"  # the method in the configuration of a base, which is measured and never trained

if TYPE_CHECKING:
    MethodName = str
    AnyMethod = Method
else:  # what pydantic reads: exactly the names and the classes above, told apart by `name`
    MethodName = Literal[tuple(METHODS)]
    AnyMethod = Annotated[Union[tuple(METHODS.values())], Field(discriminator="name")]  # noqa: UP007  # of a tuple made here
