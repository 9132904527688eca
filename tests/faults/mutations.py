"""Results, checkpoints and texts of a study that was left in its midst, damaged or exchanged; then the same study is run again.

A mutation is *used silently* where the study ends with other numbers than without it, and nobody said so. Without Ray and MLflow:
`tests/support/local_launch.py`. `python -m tests.faults.mutations [--count 40] [--seed 1] [--only PART]` prints one JSON line.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from hikaku.study.study import Study
from tests.support.forked import call_apart
from tests.support.local_launch import launch
from tests.support.small_study import describe_study

STOPS = ("before finish small/lora/0", "before report small/sft/0", "test small/base")  # where the study is left
PATTERNS = (
    *("base/result.json", "base/documents.parquet", "base/reference.safetensors", "data/card.json", "data/*.npy", "data/*/*/*"),
    *("trials/*/*/result.json", "trials/*/*/documents.parquet", "trials/*/*/weights/*.safetensors", "trials/*/*/checkpoints/*/*"),
    "trials/*/*/checkpoints/*/weights/*.safetensors",
)
VOLATILE = ("seconds", "per_second", "memory", "energy", "utilization", "efficiency/", "convergence/", "system/")


class Stopped(BaseException):
    """The study was to be left here, as by a kill."""


def make_study(root: Path) -> Study:
    described = describe_study(root, "fp32")
    config = root / "model" / "config.json"  # a context in which samples fit
    config.write_text(json.dumps(json.loads(config.read_text()) | {"max_position_embeddings": 512}))
    return Study.model_validate(described | {"finalists": {"best": 1, "seeds": 1}})


def run(study: Study, state: Path, stop_at: str = "") -> dict[str, Any]:
    """Return what a run of the study said, and the numbers that it left, without those that time decides."""
    lines: list[str] = []

    def stop(word: str) -> None:
        if stop_at and word.startswith(stop_at):
            raise Stopped(word)

    summary = launch(study, state, lines.append, stop, recorded=False)
    results = {str(path.relative_to(state)): json.loads(path.read_text()) for path in sorted((state / study.name).rglob("result.json"))}
    numbers = {
        place: {
            "outcome": result["outcome"],
            "tokens": result["tokens"],
            "curve": [point["loss"] for point in result["curve"]],
            "documents": sum_documents((state / place).parent),
            **{name: value for name, value in result["metrics"].items() if not any(word in name for word in VOLATILE)},
        }
        for place, result in results.items()
    }
    return {"code": summary.exit_code, "lines": lines, "numbers": numbers, "best": summary.best, "outcomes": summary.outcomes}


def sum_documents(folder: Path) -> dict[str, float]:
    """Return the nats of each set and split that a run's table of documents holds, as whoever reads it without checking sees them."""
    if not (folder / "documents.parquet").exists():
        return {}
    table = pd.read_parquet(folder / "documents.parquet")
    return {f"{name}/{split}": float(rows["nats"].sum()) for (name, split), rows in table.groupby(["set", "split"])}


def mutate(path: Path, kind: str, chance: random.Random, others: list[Path]) -> bool:
    """Damage a file; return whether there was something to damage."""
    data = path.read_bytes()
    if kind == "delete":
        path.unlink()
    elif kind == "exchange":  # for the file of the same name of another run, split or step
        if not others:
            return False
        shutil.copyfile(chance.choice(others), path)
    elif not data:
        return False
    elif kind == "digit":
        places = [place for place, letter in enumerate(data) if chr(letter).isdigit()]
        if not places or path.suffix != ".json":
            return False
        place = chance.choice(places)
        path.write_bytes(data[:place] + (b"7" if data[place : place + 1] != b"7" else b"3") + data[place + 1 :])
    elif kind == "bit":
        place = chance.randrange(len(data))
        path.write_bytes(data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :])
    else:
        path.write_bytes({"cut": data[: len(data) // 2], "empty": b"", "zeros": bytes(len(data))}[kind])
    return True


def differ(truth: Any, found: Any) -> bool:
    if isinstance(truth, dict) and isinstance(found, dict):
        return truth.keys() != found.keys() or any(differ(truth[key], found[key]) for key in truth)
    if isinstance(truth, list) and isinstance(found, list):
        return len(truth) != len(found) or any(differ(one, other) for one, other in zip(truth, found, strict=True))
    if isinstance(truth, float) and isinstance(found, float):
        return abs(truth - found) > 1e-6 * max(1, abs(truth))
    return truth != found


def judge(truth: dict[str, Any], found: dict[str, Any], again: Callable[[], dict[str, Any]]) -> tuple[str, str]:
    """Return a verdict on a run after a mutation, and what was said."""
    said = ""
    if "error" in found:
        said = found["error"]
        if "same command again" not in said:
            return ("refused" if "/" in said else "refused without naming a file"), said
        found = again()
        if "error" in found:
            return "does not go on", found["error"]
    put_aside = [line for line in found["lines"] if "put aside" in line or "is gone" in line]
    # What was put aside of a trial whose end stands may be lacking, its result or its table; nothing else may stand in their place.
    for place, expected in truth["numbers"].items() if put_aside else ():
        numbers = found["numbers"].setdefault(place, expected)
        numbers["documents"] = expected["documents"] | numbers["documents"]
    if differ(truth["numbers"], found["numbers"]) or truth["outcomes"] != found["outcomes"]:
        return ("other numbers, said" if put_aside or said else "used silently"), (said or " ".join(put_aside))
    return ("put aside" if put_aside or said else "same"), (said or " ".join(put_aside))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="a part of the paths of the files that are damaged")
    asked = parser.parse_args()
    chance, root = random.Random(asked.seed), Path(tempfile.mkdtemp())
    study, state = make_study(root), root / "state"
    truth = call_apart(lambda: run(study, root / "whole"))
    assert "error" not in truth, truth["error"]
    cases: list[tuple[str, Path, str]] = []
    for place, stop_at in enumerate(STOPS):
        left = call_apart(lambda stop_at=stop_at, place=place: run(study, root / f"left-{place}", stop_at))
        assert left.get("error", "").startswith("Stopped"), left
        folder = root / f"left-{place}" / study.name
        files = sorted({path for pattern in PATTERNS for path in folder.glob(pattern) if path.is_file() and asked.only in str(path)})
        kinds = ("delete", "exchange", "digit", "bit", "bit", "cut", "empty", "zeros")
        cases += [(f"left-{place}", path.relative_to(folder), kind) for path in files for kind in kinds]
    chance.shuffle(cases)
    verdicts: Counter[str] = Counter()
    failing: list[dict[str, str]] = []
    for left, path, kind in cases:
        if verdicts.total() == asked.count:
            break
        shutil.rmtree(state, ignore_errors=True)
        shutil.copytree(root / left, state)
        damaged = state / study.name / path
        alike = sorted(damaged.parents[len(path.parts) - 1].rglob(path.name))
        others = [other for other in alike if other.read_bytes() != damaged.read_bytes()]
        if not mutate(damaged, kind, chance, others):
            continue
        verdict, said = judge(truth, call_apart(lambda: run(study, state)), lambda: call_apart(lambda: run(study, state)))
        verdicts[verdict] += 1
        sys.stderr.write(f"{left} {path} {kind}: {verdict} {said[:300]}\n")
        if verdict not in ("same", "put aside", "refused"):
            failing.append({"left": STOPS[int(left[-1])], "file": str(path), "kind": kind, "verdict": verdict, "said": said})
    shutil.rmtree(root)
    told = {"script": "mutations", "seed": asked.seed, "n": verdicts.total(), "verdicts": dict(verdicts), "failing": failing}
    sys.stdout.write(json.dumps(told, ensure_ascii=False) + "\n")
    return int(bool(failing))


if __name__ == "__main__":
    sys.exit(main())
