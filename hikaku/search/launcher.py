"""A whole study, from its checked file to its report: prepares, searches on Ray, opens the test split, reports.

Everything it does can be interrupted at any instant and done again: running the same study resumes it.
"""

import contextlib
import hashlib
import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ray.exceptions import RayError

from analysis.text.wording import Wording, read_wording
from hikaku.search.asides import AsideLines, claim_results
from hikaku.search.closing import answer_lines, read_openings
from hikaku.search.cluster import check_address, check_machines, count_concurrent, open_cluster, read_device, share_of
from hikaku.search.finalists import choose_judged, choose_opened, has_ended
from hikaku.search.progress import LiveTable
from hikaku.search.referee import Referee
from hikaku.search.retries import reopen_failed
from hikaku.search.standing import RankCorrelation, Standing, read_standing, refuse_other_workers
from hikaku.search.trial_store import settle_trials
from hikaku.search.tuning import Search, is_measured
from hikaku.study.folder import load_birth, load_identity, lock_study, prepare_texts, save_identity
from hikaku.study.identity import describe_change
from hikaku.study.machine import resolve_precision
from hikaku.study.origins import save_origins
from hikaku.study.plan import explain_no_verdict, explain_unused
from hikaku.study.rules import PRECISION, check_device, judged_metrics
from hikaku.study.setting import Setting
from hikaku.study.study import Study
from records.experiments import BIRTH, settle_experiment
from records.folders import DATA_FOLDER, LOGS_FOLDER, MLFLOW_DATABASE
from records.metrics import definition_of
from records.obstacles import Obstacle, find_obstacle
from records.places import state_root
from records.results import Outcome, TrialStatus
from records.run_id import RunId
from trainables.config import Precision
from trainables.corpora.tokens.writing import digest_data
from trainables.models.source import resolve_model
from trainables.process import Share

Say = Callable[[str], None]


@dataclass(frozen=True)
class StudySummary:
    """What a run of a study came to."""

    name: str
    folder: Path
    outcomes: dict[str, int]
    best: dict[str, str]  # arm -> uid, as plain data for whoever asked
    openings: int
    report: Path | None = None
    interrupted: bool = False
    lines: tuple[str, ...] = field(default=())

    @property
    def exit_code(self) -> int:
        """Return 0 for a finished study in which something completed and that has its report, 130 after an interruption, else 1."""
        return 130 if self.interrupted else 0 if self.best and self.report else 1


def run_study(  # noqa: PLR0913
    study: Study,
    *,
    state: Path | None = None,
    address: str | None = None,
    say: Say | None = None,
    retry_failed: bool = False,
    archive_earlier: bool = False,
) -> StudySummary:
    """Return the summary of a study after running, or resuming, it to its end.

    `state` is the root folder of all studies' state, `address` a Ray cluster's, `say` takes lines for people (default: the
    terminal); `retry_failed` has trials and replicates that failed, and neither diverged nor ran out of memory, tried again;
    `archive_earlier` renames what an earlier study of the name left in MLflow and in a shared store of trials, which is refused otherwise.
    Raises ValueError, in one line, when the study cannot run here, was begun with another configuration, or is being run by another
    process; Obstacle, in one line, when a disk, a right or a store stops it; RuntimeError when the base or the test split cannot be
    measured, or Ray itself fails.
    """
    folder = state_root(state) / study.name
    say = say or LiveTable.say
    with lock_study(study, folder), contextlib.ExitStack() as stack:
        launch = Launch(study, folder, address, say, stack, retry_failed=retry_failed, archive_earlier=archive_earlier)
        try:
            return launch.run()
        except Exception as error:
            # Ray's error of a task is also of the kind that the task raised; any other ValueError is a refusal.
            is_refused = isinstance(error, ValueError) and not isinstance(error, RayError)
            obstacle = None if is_refused else find_obstacle(error, folder)
            if obstacle is not None:
                raise Obstacle(f"{study.name}: {obstacle}") from error
            if not isinstance(error, RayError):
                raise
            last = [line for line in str(error).splitlines() if line.strip()][-1].strip()
            raise RuntimeError(f"{study.name}: {last} (logs: {folder / LOGS_FOLDER}); the same command goes on from here") from error


@dataclass
class Launch:
    """One run of a study; the cluster is opened when first needed, which a finished study never does."""

    study: Study
    folder: Path
    address: str | None
    say: Say
    stack: contextlib.ExitStack  # holds the cluster open
    wording: Wording = field(default_factory=read_wording)
    retry_failed: bool = False
    archive_earlier: bool = False
    _share: Share | None = None

    def __post_init__(self) -> None:
        self._asides = AsideLines(self.folder)

    def run(self) -> StudySummary:
        """Return the summary after every missing part of the study is done."""
        if load_identity(self.folder) is None:
            check_address(self.address)  # before minutes of preparing
        try:
            return self._run()
        finally:
            self._tell_asides()

    def _run(self) -> StudySummary:
        setting = self._prepare()
        if self.retry_failed:
            again = reopen_failed(self.study, self.folder)
            self.say(self.wording("search.launcher.retried", study=self.study.name, count=len(again), runs=", ".join(map(str, again))))
        standing = read_standing(self.study, self.folder)
        if not standing.is_done():
            refuse_other_workers(standing, self.folder)
        claim_results(standing, setting)  # before anything is made of what lies there
        self._tell_asides()
        if not (standing.is_done() and self._is_opened(standing)):
            return self._search(setting)
        self.say(self.wording("search.launcher.done", study=self.study.name))
        referee = Referee(self.study, setting)  # which writes what MLflow may lack
        unwritten = referee.close(finished=True)
        self._tell_healed(referee.healed())
        return self._conclude(standing.snapshot(), standing.best(), [], unwritten)

    def _tell_healed(self, runs: tuple[str, ...]) -> None:
        if runs:
            self.say(self.wording("search.recorder.healed", runs=", ".join(runs)))

    def _tell_asides(self) -> None:
        """Say what was put aside since the last call."""
        for line in self._asides.new():
            self.say(line)

    # -- before ----------------------------------------------------------------------------------------------

    def _prepare(self) -> Setting:
        """Return where the study runs, after making model and data present and checking that it is the study begun here."""
        study = self.study
        model = resolve_model(study.model, fetch=True)
        assert model.folder is not None
        assert model.digest is not None
        precision = self._precision()
        digests = digest_data(study.data)
        stored = study.identity(precision, digests, model.digest, stored=True)
        self._check_identity(study.identity(precision, digests, model.digest), stored)
        birth = self._settle_birth()
        card = prepare_texts(study, model.folder, self.folder, self.say)
        save_identity(self.folder, stored, birth)
        save_origins(self.folder, study)
        self.say(self.wording("search.launcher.begun", study=study.name, precision=precision, folder=self.folder))
        for line in explain_unused(model, self.wording):
            self.say(line)
        if verdictless := explain_no_verdict(study, self.wording):
            self.say(verdictless)
        tags = {BIRTH: birth, "model": study.model.name, "revision": study.model.revision or model.digest, "licence": study.model.licence}
        tags |= {"precision": precision, "data": _digest(digests), "train_digest": card.train_digest}
        place, uri = self.folder / DATA_FOLDER, self._tracking_uri()
        return Setting(self.folder, model.folder, place, precision, uri, tags, dict(digests), model.digest, card.request)

    def _settle_birth(self) -> str:
        """Return what tells this study from others of its name, after seeing that none of those is where its trials and runs are kept.

        Where MLflow does not answer, its experiment is looked at before the first run is written instead.
        """
        birth = load_birth(self.folder)
        adopts = birth is None and load_identity(self.folder) is not None
        birth = birth or uuid.uuid4().hex
        archived = settle_trials(self.study, birth, adopts=adopts, archives=self.archive_earlier)
        if self.study.tracking.uri or (self.folder.parent / MLFLOW_DATABASE).exists():
            uri = self._tracking_uri()
            archived += settle_experiment(uri, self.study.name, birth, adopts=adopts, archives=self.archive_earlier)
        for name in archived:
            self.say(self.wording("search.launcher.archived", study=self.study.name, name=name))
        return birth

    def _precision(self) -> Precision:
        """Return the precision, resolved once: a study that was begun keeps what `auto` meant then."""
        begun = load_identity(self.folder)
        if self.study.training.precision == "auto" and begun is not None:
            return begun["training"]["precision"]
        device = read_device(self._on_cluster())
        for name, arm in self.study.arms.items():
            for asked in arm.space.values(PRECISION) if PRECISION in arm.space.root else ():
                resolve_precision(asked, device, f"arms.{name}.space.{PRECISION}")
        return resolve_precision(self.study.training.precision, device)

    def _check_identity(self, identity: dict[str, Any], stored: dict[str, Any]) -> None:
        begun = load_identity(self.folder)
        change = describe_change(begun, identity, stored, self.study.default_of) if begun is not None else None
        if change is not None:
            raise ValueError(f"study {self.study.name} was begun with another configuration ({change}); give this one a new name")

    def _tracking_uri(self) -> str:
        from records.tracking import create_store

        return self.study.tracking.uri or create_store(self.folder.parent)

    def _on_cluster(self) -> Share:
        """Return a trial's share of the cluster, which is opened at the first call and left when the run ends."""
        if self._share is None:
            self.stack.enter_context(open_cluster(self.address, self.folder / LOGS_FOLDER))
            check_machines(self.study, self.folder)
            self._share = share_of(self.study.resources)
        return self._share

    # -- the search ------------------------------------------------------------------------------------------

    def _search(self, setting: Setting) -> StudySummary:
        share = self._on_cluster()
        if any(definition_of(metric).needs for _, metric in judged_metrics(self.study)):
            device = read_device(share)
            check_device(self.study, on_gpu=device.kind == "gpu", has_energy_meter=device.energy_meter)
        search = Search(self.study, setting, share, count_concurrent(self.study.resources, share))
        interrupted = False
        try:
            search.run()
        except KeyboardInterrupt:
            interrupted = True
            self.say(self.wording("search.launcher.interrupted", study=self.study.name))
        rows, best, correlations = (search.ask(method) for method in ("snapshot", "best", "correlations"))
        unwritten = search.ask("close", finished=not interrupted, patience=5 if interrupted else 60)
        self._tell_healed(search.ask("healed"))
        return self._conclude(rows, best, correlations, unwritten, interrupted=interrupted)

    # -- after -----------------------------------------------------------------------------------------------

    def _is_opened(self, standing: Standing) -> bool:
        """Return whether the finalists were trained again, and the test split was opened for all that is judged."""
        replicates = standing.replicates()
        opened = (self.study.id.base, *choose_opened(self.folder, standing.best(), replicates))
        return all(has_ended(self.folder, run) for run in replicates) and all(is_measured(self.folder, "test", run) for run in opened)

    def _conclude(
        self,
        rows: list[TrialStatus],
        best: dict[str, RunId],
        correlations: list[RankCorrelation],
        unwritten: str,
        *,
        interrupted: bool = False,
    ) -> StudySummary:
        openings = read_openings(self.folder)
        answer = [] if interrupted else answer_lines(self.folder, self.study.id.base, choose_judged(best, openings))
        ranked = [tell_correlation(correlation, self.wording) for correlation in correlations]
        lines = [*ranked, *answer, *([unwritten] if unwritten else [])]
        for line in lines:
            self.say(line)
        outcomes = {word.value: sum(row.outcome == word for row in rows) for word in Outcome}
        report = None if interrupted or unwritten else self._report()
        uids = {arm: str(run) for arm, run in best.items()}
        return StudySummary(self.study.name, self.folder, outcomes, uids, len(openings), report, interrupted, tuple(lines))

    def _report(self) -> Path:
        from analysis.guidance.sentences import tell_ablation, tell_edge, tell_knee, tell_thin_arm, tell_verdict
        from analysis.report.report import build_report

        report = build_report(self.study.name, self._tracking_uri())
        path, found = report.write(self.folder), report.findings
        knees = (knee for knee in found.knees if knee.seeds > 1)  # an ordinary search has one seed a rank, and no ablation
        if found.verdict is not None:
            self.say(tell_verdict(found.verdict, self.wording))
        for edge in found.edges:
            self.say(tell_edge(edge, self.study.name, self.wording))
        for arm, completed in found.thin_arms.items():
            self.say(tell_thin_arm(arm, completed, self.wording))
        for knee in knees:
            self.say(tell_knee(knee, self.wording))
        for ablation in found.ablations:
            self.say(tell_ablation(ablation, self.wording))
        self.say(self.wording("search.launcher.report", path=path))
        return path


def tell_correlation(correlation: RankCorrelation, wording: Wording) -> str:
    """Return how well a rung ranked an arm's trials, in a line."""
    return wording(
        "search.launcher.correlation",
        arm=correlation.arm,
        tokens=f"{correlation.tokens:,}",
        value=f"{correlation.spearman:.2f}",
        trials=correlation.trials,
    )


def _digest(digests: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(dict(digests), sort_keys=True).encode()).hexdigest()
