"""What a saved model writes after prompts: `hikaku generate`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from hikaku.commands.options import AsJson, State, print_json
from hikaku.commands.saved_models import SavedModel
from hikaku.study.origins import load_origins
from records.folders import ORIGINS_FILE
from records.refusals import Refusal
from trainables.corpora.templates import make_renderer, read_template

AS_IS: Literal["none"] = "none"


@dataclass(frozen=True)
class Prompting:
    """How prompts are written: by a template, None for as they are."""

    template: str | None
    system: str | None = None


def choose_prompting(saved: SavedModel, template: str | None, system: str | None) -> Prompting:
    """Return the prompting that is asked for; where none is, that of the set a trial was trained on, and of a model folder none.

    Raises ValueError, in one line, for a template that cannot be read, or a system prompt where no template would write it.
    """
    if template is None and saved.config is not None:
        path = Path(saved.config.data.folder).parent / ORIGINS_FILE
        sets = load_origins(path).data.values() if path.exists() else ()
        trained = next((each for each in sets if each.role == "adapt" and each.prompt_field is not None), None)
        if trained is not None:
            return Prompting(read_template(trained.template), trained.system if system is None else system)
    if template in (None, AS_IS):
        if system is not None:
            raise Refusal("--system", repr(system), "only with --template, or a trial that was trained with one")
        return Prompting(None)
    return Prompting(read_template(template), system)


def read_prompts(given: Sequence[str], file: Path | None) -> list[str]:
    """Return the prompts given, then a file's lines; with neither the lines of standard input. Raises ValueError where there is none."""
    lines = file.read_text(encoding="utf-8").splitlines() if file else [] if given else sys.stdin.read().splitlines()
    prompts = [*given, *(line for line in lines if line.strip())]
    if not prompts:
        raise Refusal("PROMPT", "none", "at least one, as an argument, in --prompts, or a line of standard input")
    return prompts


def write_answers(  # noqa: PLR0913
    saved: SavedModel, prompts: Sequence[str], prompting: Prompting, *, new_tokens: int, temperature: float, seed: int
) -> list[str]:
    """Return what the model writes after each prompt, in order. Raises ValueError for a prompt too long, or refused by its template."""
    from trainables.evaluation.generation import generate

    loaded = saved.load()
    is_templated = prompting.template is not None
    if prompting.template is not None:
        render = make_renderer(loaded.tokenizer.loaded, prompting.template, prompting.system)
        prompts = [render(prompt) for prompt in prompts]
    with loaded.autocast:
        return generate(
            loaded.model,
            loaded.tokenizer,
            prompts,
            new_tokens=new_tokens,
            temperature=temperature,
            seed=seed,
            as_written=is_templated,
        )


def generate(  # noqa: PLR0913, PLR0917
    model: Annotated[str, typer.Argument(metavar="MODEL_OR_TRIAL", help="model folder, or study/arm/number of a trial")],
    prompts: Annotated[list[str] | None, typer.Argument(metavar="[PROMPT]...", help="[default: the lines of standard input]")] = None,
    file: Annotated[Path | None, typer.Option("--prompts", metavar="FILE", help="prompts too, one a line", exists=True)] = None,
    new_tokens: Annotated[int, typer.Option(min=1, help="tokens of an answer at most")] = 128,
    temperature: Annotated[float, typer.Option(min=0, help="0 takes the likeliest token")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="the same texts again at a temperature above 0")] = 0,
    template: Annotated[
        str | None, typer.Option(help="plain, chat, a Jinja file, or none [default: the one the trial was trained with]")
    ] = None,
    system: Annotated[str | None, typer.Option(help="what stands before every prompt, for templates that show it")] = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Write on after prompts with a trial or a model folder."""
    from hikaku.commands.saved_models import find_model
    from records.places import state_root

    saved = find_model(model, state_root(state))
    asked = read_prompts(prompts or [], file)
    prompting = choose_prompting(saved, template, system)
    written = write_answers(saved, asked, prompting, new_tokens=new_tokens, temperature=temperature, seed=seed)
    pairs = [{"prompt": prompt, "written": text} for prompt, text in zip(asked, written, strict=True)]
    if as_json:
        print_json({"model": saved.as_json(), "answers": pairs})
    else:
        for pair in pairs:
            typer.echo(f"{pair['prompt']}\n{pair['written']}\n" if len(pairs) > 1 else pair["written"])
