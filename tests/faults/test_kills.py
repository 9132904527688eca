"""One of the kills of `make faults`, in short: the driver dies with a run made in MLflow that has no values yet."""

import json
import subprocess
import sys

from tests.faults.kills import INSTANTS
from tests.support.tree import ROOT


def test_a_driver_that_is_killed_while_it_writes_loses_and_doubles_nothing() -> None:
    place = INSTANTS.index(("created", 2))
    command = [sys.executable, "-m", "tests.faults.kills", "--stores", "local", "--instants", str(place), "--short"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    told = json.loads(ran.stdout.splitlines()[-1])
    assert (ran.returncode, told["n"], told["killed"], told["failing"]) == (0, 1, 1, [])
