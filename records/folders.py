"""What lies in the state folder under which name: the one place that spells these names.

    <state>/                        one folder for all studies of a person or a cluster
      mlflow.db, mlartifacts/       MLflow's store: runs, and the files they keep               under mlflow.lock
      <study>/                                                                                  under lock; lock.json says who holds it
        study.json                  the identity of the study that was begun here
        origins.json                where its model and texts were taken from
        data/                       its texts in tokens: `trainables/corpora/tokens/folder.py`
        openings.jsonl              one line for each opening of a test split: uid, unix_time
        samples.json                what the base and the best of each arm wrote, side by side
        optuna.db                   the trials, one Optuna study an arm                         under referee.lock
        arms/<arm>.json             each arm's search space, as Optuna's distributions          under referee.lock
        base/                       the folder of the base's run
        trials/<arm>/<number>/      of a trial's
        trials/<arm>/<number>/seed-<index>/                                                     of a replicate's
        report.md, report.html, report.json, figures/, tables/                                  under report.lock
        set-aside.log               the same of the texts in tokens
        logs/                       Ray's own

    <run>/                          base, trial or replicate                                    under its lock
      config.json                   a `trainables.config.TrialConfig`
      result.json                   a `records.results.Result`; there when the run has ended
      documents.parquet             nats, tokens, characters and bytes of each measured document
      rungs.parquet                 of a replicate: nats of a sample of validation documents at each rung
      samples.json                  of the base and the best: given, written, expected
      reference.safetensors         of the base: hidden states that trials' divergence is measured against
      weights/                      the adapter or the full model after the last step, safetensors and JSON
      checkpoints/<step>/           `trainables/training/checkpoint.py`
      set-aside.log                 a line for each file of the run that was not used and put aside: NAME.set-aside-N

Whoever writes holds the lock of the place. Readers need none: `records/files.py` puts every file and folder in its place whole.
"""

# -- all studies ---------------------------------------------------------------------------------------------

MLFLOW_DATABASE = "mlflow.db"
ARTIFACTS_FOLDER = "mlartifacts"
MLFLOW_LOCK = "mlflow.lock"

# -- one study -----------------------------------------------------------------------------------------------

STUDY_LOCK = "lock"
STUDY_FILE = "study.json"
ORIGINS_FILE = "origins.json"
DATA_FOLDER = "data"
OPENINGS_FILE = "openings.jsonl"
SAMPLES_FILE = "samples.json"
TRIALS_DATABASE = "optuna.db"
ARMS_FOLDER = "arms"
REFEREE_LOCK = "referee.lock"
BASE_FOLDER = "base"
TRIALS_FOLDER = "trials"
LOGS_FOLDER = "logs"
ASIDE_LOG = "set-aside.log"  # of a run too

REPORT_FILE, REPORT_PAGE, REPORT_DATA = "report.md", "report.html", "report.json"
FIGURES_FOLDER, TABLES_FOLDER = "figures", "tables"
REPORT_LOCK = "report.lock"

# -- one run -------------------------------------------------------------------------------------------------

RUN_LOCK = "lock"
CONFIG_FILE = "config.json"
RESULT_FILE = "result.json"
DOCUMENTS_FILE = "documents.parquet"
RUNGS_FILE = "rungs.parquet"
REFERENCE_FILE = "reference.safetensors"
WEIGHTS_FOLDER = "weights"
CHECKPOINTS_FOLDER = "checkpoints"
