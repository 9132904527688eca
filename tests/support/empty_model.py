"""A model folder for what only looks at it."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainables.shape import shape_of


def write_empty_model(folder: Path, config: Mapping[str, Any]) -> None:
    """Write a configuration, weights that are all 0 and take no room on disk, and a tokenizer of one word into an existing folder."""
    (folder / "config.json").write_text(json.dumps(config))
    header: dict[str, Any] = {}
    end = 0
    for name, shape in shape_of(config, folder / "config.json").parameter_shapes().items():
        begin, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": (begin, end)}
    written = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(written).to_bytes(8, "little") + written)
        file.truncate(8 + len(written) + end)
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": {"a": 0}}, "added_tokens": []}))
