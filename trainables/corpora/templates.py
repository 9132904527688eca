"""How the prompt of a document is written: `plain`, the tokenizer's own chat template, or a Jinja file of the user's.

A template ends where the text begins. It sees what chat templates see: `messages`, of roles system and user, `add_generation_prompt`
and the tokenizer's special tokens; beside them `prompt` and `system` by themselves. It runs in Jinja's sandbox.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

CHAT = "chat"  # stands for the tokenizer's own template, which is known when the tokenizer is
PLAIN = "{% if system %}{{ system }}\n\n{% endif %}Question: {{ prompt }}\n\nAnswer:\n"
Render = Callable[[str], str]


def read_template(template: str) -> str:
    """Return a template's Jinja text, `chat` as it is. Raises ValueError where it is neither known nor a file of UTF-8 text."""
    if template == "plain":
        return PLAIN
    if template == CHAT:
        return CHAT
    try:
        return Path(template).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        what = "is not UTF-8" if isinstance(error, UnicodeDecodeError) else "no such file"
        raise ValueError(f"template: got {template!r}, {what}; allowed: plain, chat, or a Jinja file") from None
