"""The options of the commands about one trial: `hikaku export`, `generate` and `repro`. Nothing heavy is imported before they run."""

import json
from pathlib import Path
from typing import Annotated

import typer

State = Annotated[
    Path | None, typer.Option("--state", help="folder of all studies' state [default: $HIKAKU_STATE, or the user's data directory]")
]
AsJson = Annotated[bool, typer.Option("--json", help="print one JSON object")]


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
    from hikaku.generation import choose_prompting, read_prompts, write_answers
    from hikaku.places import state_root
    from hikaku.saved_models import find_model

    saved = find_model(model, state_root(state))
    asked = read_prompts(prompts or [], file)
    prompting = choose_prompting(saved, template, system)
    written = write_answers(saved, asked, prompting, new_tokens=new_tokens, temperature=temperature, seed=seed)
    pairs = [{"prompt": prompt, "written": text} for prompt, text in zip(asked, written, strict=True)]
    if as_json:
        typer.echo(json.dumps({"model": saved.as_json(), "answers": pairs}, ensure_ascii=False, indent=1))
    else:
        for pair in pairs:
            typer.echo(f"{pair['prompt']}\n{pair['written']}\n" if len(pairs) > 1 else pair["written"])
