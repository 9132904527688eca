"""`hikaku schema`: the JSON Schema of study files, for editors."""

from hikaku.commands.options import print_json


def schema() -> None:
    """Print the JSON Schema of study files, for editors."""
    from hikaku.study.reading import study_schema

    print_json(study_schema())
