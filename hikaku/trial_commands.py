"""The options of the commands about one trial: `hikaku export`, `generate` and `repro`. Nothing heavy is imported before they run."""

import json
from pathlib import Path
from typing import Annotated

import typer

State = Annotated[
    Path | None, typer.Option("--state", help="folder of all studies' state [default: $HIKAKU_STATE, or the user's data directory]")
]
AsJson = Annotated[bool, typer.Option("--json", help="print one JSON object")]


def export(  # noqa: PLR0913, PLR0917
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="study file, e.g. studies/quickstart.yaml")],
    destination: Annotated[Path, typer.Argument(metavar="DEST", help="folder to be written")],
    trial: Annotated[str, typer.Option(metavar="UID", help="study/arm/number, best, or best:ARM")] = "best",
    merge: Annotated[bool, typer.Option("--merge", help="add the adapter into its base: a whole model, which needs no peft")] = False,
    overrides: Annotated[list[str], typer.Option("--set", metavar="A.B=C", help="change a key of the study file")] = [],  # noqa: B006
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Export a trial as a folder that transformers and peft read, with its tokenizer and a card; compared with the trial after."""
    from hikaku.export import export_trial
    from hikaku.places import find_store, state_root
    from hikaku.study_file import read_study
    from hikaku.tracking import read_study_runs

    known = read_study(study, overrides)
    runs = read_study_runs(known.name, find_store(state, known.tracking.uri))
    done = export_trial(runs, known.model, state_root(state), trial, destination.expanduser().absolute(), merge=merge)
    typer.echo(json.dumps(done.as_json(), ensure_ascii=False, indent=1) if as_json else str(done))


def repro(  # noqa: PLR0913, PLR0917
    uid: Annotated[str, typer.Argument(metavar="UID", help="study/arm/number, or a finalist's study/arm/number/seed-N")],
    tracking: Annotated[str | None, typer.Option(metavar="URI", help="MLflow's [default: the store in the state folder]")] = None,
    folder: Annotated[Path | None, typer.Option("--into", metavar="FOLDER", help="keep what is trained, and go on there if it is")] = None,
    tolerance: Annotated[float, typer.Option(min=0, help="of the final perplexity, relative")] = 1e-6,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Train a trial again from its MLflow record alone, and compare: exit code 0 where the final perplexity is the same."""
    from hikaku.places import find_store
    from hikaku.repro import print_rerun, rerun_trial

    done = rerun_trial(uid, find_store(state, tracking), folder, tolerance)
    if as_json:
        typer.echo(json.dumps(done.as_json(), ensure_ascii=False, indent=1))
    else:
        print_rerun(done)
    raise typer.Exit(0 if done.is_same else 1)


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
