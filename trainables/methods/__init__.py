"""How a base model becomes trainable. A method's fields are its hyperparameters.

To add a method: one class with `name`, `prepare` and `trainable_parameters`, and its line in `METHODS`
(and in the union of `trainables/config.py`). `prepare` imports torch and peft inside, because study files are checked
against these classes where neither may be imported.
"""

from trainables.methods.full import Full
from trainables.methods.lora import Lora
from trainables.methods.method import Method

METHODS: dict[str, type[Method]] = {"lora": Lora, "full": Full}
