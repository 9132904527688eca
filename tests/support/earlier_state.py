"""Makes `tests/support/earlier_state.tar.gz`: a study as the version before left it, in the midst of its third trial.

Run in a checkout of that version, whose code writes the state: `python earlier_state.py FILE` with the checkout on PYTHONPATH. The file
holds the model, the texts, `described.json` (the study, its paths relative) and `state/small`. MLflow's store is made anew: it is left out.
"""

import json
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

from hikaku.search.referee import Referee
from hikaku.study.folder import prepare_texts, save_identity
from hikaku.study.origins import save_origins
from hikaku.study.setting import Setting
from hikaku.study.study import Study
from records.results import RungReport
from tests.support.small_study import describe_study
from trainables.config import TrialConfig
from trainables.corpora.tokens.writing import digest_data
from trainables.jobs.measurement import measure_base
from trainables.jobs.runner import run_trial
from trainables.models.source import resolve_model


class Stopped(BaseException):
    """The process was to be left here, as by a kill."""


def stop(report: RungReport) -> bool:
    raise Stopped


def begin_study(root: Path) -> None:
    """Measure the base, train the first trial to its end, and leave the arm's second with the checkpoint of its first rung."""
    described = describe_study(root, "fp32")
    config = root / "model" / "config.json"  # a context in which samples fit
    config.write_text(json.dumps(json.loads(config.read_text()) | {"max_position_embeddings": 512}))
    study = Study.model_validate(described)
    folder = root / "state" / study.name
    model, digests = resolve_model(study.model, fetch=True), digest_data(study.data)
    assert model.folder is not None
    assert model.digest is not None
    prepare_texts(study, model.folder, folder, lambda line: None)
    save_identity(folder, study.identity("fp32", digests, model.digest))
    save_origins(folder, study)
    setting = Setting(folder, model.folder, folder / "data", "fp32")
    measure_base(study.trial_config(study.id.base, setting, {}))
    referee = Referee(study, setting)
    first = TrialConfig.unflatten(referee.next_trial() or {})
    referee.finish(first.uid, run_trial(first, lambda report: referee.report(first.uid, report)))
    referee.next_trial()  # of the other arm: asked for, and not begun, as its checkpoint would take most of the file
    second = TrialConfig.unflatten(referee.next_trial() or {})
    try:
        run_trial(second, stop)
    except Stopped:
        referee.close(finished=False)
    described["model"]["path"] = "model"
    for data in described["data"].values():
        data["path"] = Path(data["path"]).name
    (root / "described.json").write_text(json.dumps(described, indent=1))


def main(file: Path) -> None:
    root = Path(tempfile.mkdtemp())
    begin_study(root)
    with tarfile.open(file, "w:gz", compresslevel=9) as archive:
        for path in sorted(root.iterdir()):
            archive.add(path, path.name, filter=lambda member: None if member.name.endswith((".lock", "/lock")) else member)
    shutil.rmtree(root)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
