"""What may vary in an arm: YAML spaces, their grammar, and the samplers that draw from them."""

from pathlib import Path


def shipped_spaces() -> dict[str, Path]:
    """Return the spaces that come with hikaku: name -> YAML file."""
    return {path.stem: path for path in sorted(Path(__file__).parent.glob("*.yaml"))}
