"""A function called in a process of its own, which may be killed in its midst while the caller goes on."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

DIED = "the process died"


def call_apart(function: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what a function returns in a process of its own, or the line of its error, or that the process died."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 (this process ends here)
        try:
            told = function()
        except BaseException as error:
            told = {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"}
        with os.fdopen(writing, "w") as pipe:
            pipe.write(json.dumps(told))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    return json.loads(told) if told else {"error": DIED}
