"""How the prompt of a document is written: `plain`, the tokenizer's own chat template, or a Jinja file of the user's.

A template ends where the text begins. It sees what chat templates see: `messages`, of roles system and user, `add_generation_prompt`
and the tokenizer's special tokens; beside them `prompt` and `system` by themselves. It runs in Jinja's sandbox.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from records.refusals import Refusal

CHAT = "chat"  # stands for the tokenizer's own template, which is known when the tokenizer is
PLAIN = "{% if system %}{{ system }}\n\n{% endif %}Question: {{ prompt }}\n\nAnswer:{{ '\n' }}"
NO_DATE = "26 Jul 2024"  # Llama's templates write the day's date into a prompt where none is given: their own default, on every day
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
        raise Refusal("template", f"{template!r}, {what}", "plain, chat, or a Jinja file") from None


def make_renderer(tokenizer: Any, template: str, system: str | None) -> Render:
    """Return what writes a prompt by a template that was read; `tokenizer` is transformers'.

    Raises ValueError, in one line, for a tokenizer without a chat template, a template that is broken or does not show the prompt.
    The renderer raises it for a prompt, or a system prompt, that the template refuses, or that holds a special token: the
    template's own could not be told from it.
    """
    if template == CHAT and not tokenizer.chat_template:
        raise Refusal("template", "'chat', but the tokenizer has no chat template", "plain, or a Jinja file")
    special = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]

    def render(prompt: str) -> str:
        held = next((token for token in special if token in prompt or token in (system or "")), None)
        if held is not None:
            raise Refusal(fault=f"the prompt holds {held!r}, a special token of the tokenizer", allowed="prompts without it")
        messages = [{"role": "system", "content": system}] if system else []
        messages.append({"role": "user", "content": prompt})
        try:
            return tokenizer.apply_chat_template(
                messages,
                chat_template=None if template == CHAT else template,
                add_generation_prompt=True,
                tokenize=False,
                prompt=prompt,
                system=system,
                date_string=NO_DATE,
            )
        except Exception as error:  # a template may raise anything
            line = str(error).strip().partition("\n")[0]
            allowed = "a Jinja template that chat templates' names suffice"
            raise Refusal("template", fault=f"{type(error).__name__}: {line}", allowed=allowed) from None

    # A template that shows no prompt would train every answer on the same question.
    if render("one") == render("two"):
        raise Refusal("template", fault="does not show the prompt", allowed="one with {{ prompt }}, or with the messages' content")
    return render
