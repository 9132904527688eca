"""Where the base model comes from: the embedded one, a local folder, or the hub at a pinned revision."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from records.files import digest_folder
from records.refusals import Refusal
from records.section import Section
from trainables.models.folder import READ, WEIGHTS, ModelFolder, inspect_folder
from trainables.shape import ModelShape, read_model_shape

Lack = Literal["download", "training"]


class ModelSource(Section):
    """The base model: exactly one of `embedded`, `path`, `id` (with its `revision`)."""

    embedded: Literal["small", "tiny"] | None = Field(default=None, description="a model hikaku trains at first use; tiny is for tests")
    path: str | None = Field(default=None, description="local folder in Hugging Face format")
    id: str | None = Field(default=None, description="model id on the hub, owner/name")
    revision: str | None = Field(default=None, description="commit of the hub repository, 40 hexadecimal digits")
    licence: str = Field(description="licence of the weights, recorded with every run")

    @model_validator(mode="after")
    def _one_source(self) -> "ModelSource":
        given = [name for name in ("embedded", "path", "id") if getattr(self, name) is not None]
        if len(given) != 1:
            raise Refusal(got=" and ".join(given) or "no source", allowed="exactly one of embedded, path, id")
        # A commit and no branch: a branch moves, and a study taken up again would meet other weights.
        if self.id is not None and not re.fullmatch(r"[0-9a-f]{40}", self.revision or ""):
            raise Refusal("revision", repr(self.revision), "the commit, 40 hexadecimal digits", scope="with an id")
        if self.id is not None and not re.fullmatch(r"[\w.-]+/[\w.-]+", self.id):
            raise Refusal("id", repr(self.id), "owner/name")
        if self.id is None and self.revision is not None:
            raise Refusal("revision", repr(self.revision), scope="only with an id")
        return self

    @property
    def name(self) -> str:
        """What people call the model: its hub id, its folder's name, or `embedded`."""
        return self.id or (Path(self.path).name if self.path else f"embedded {self.embedded}")


@dataclass(frozen=True)
class ResolvedModel:
    """A model source on this machine: what of it is here, what is known without it, and what would make it present."""

    folder: Path | None
    digest: str | None
    shape: ModelShape | None
    lacks: Lack | None = None
    look: ModelFolder | None = None  # what its files tell, where it is a folder that others made and that is here


def resolve_model(source: ModelSource, *, fetch: bool) -> ResolvedModel:
    """Return where the model lies on this machine, the digest of its content, and its shape.

    With `fetch` the model is made present: the embedded one is trained at its first use, a hub model is downloaded. Without,
    nothing is written and no network is used; what cannot be known is None and `lacks` says what it waits for.
    Raises ValueError, in one line, for a folder without a usable model and for a hub model that cannot be had.
    """
    if source.embedded is not None:
        return _resolve_embedded(source.embedded, fetch=fetch)
    if source.path is not None:
        folder = Path(source.path).expanduser().absolute()
        look = inspect_folder(folder)
        return ResolvedModel(folder, digest_model(folder) if fetch else None, look.shape, look=look)
    assert source.id is not None
    assert source.revision is not None
    folder = _fetch(source.id, source.revision) if fetch else _cached(source.id, source.revision)
    if folder is None:
        return ResolvedModel(None, source.revision, None, "download")
    look = inspect_folder(folder)
    return ResolvedModel(folder, source.revision, look.shape, look=look)


def digest_model(folder: Path) -> str:
    """Return the SHA-256, as hex, over the names and contents of the files of a model folder that are ever read."""
    return digest_folder(folder, *READ)


def _resolve_embedded(name: str, *, fetch: bool) -> ResolvedModel:
    from trainables.models.embedded import embedded_folder, ensure_embedded
    from trainables.models.recipes import RECIPES, embedded_shape

    recipe = RECIPES[name]
    if not fetch:  # the digest is of weights, which no one knows before they are trained
        there = embedded_folder(recipe).exists()
        return ResolvedModel(None, None, embedded_shape(recipe), None if there else "training")
    folder = ensure_embedded(recipe=recipe)
    return ResolvedModel(folder, digest_model(folder), read_model_shape(folder))


def _cached(model: str, revision: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    # A download that broke off may have left the configuration without the weights.
    config = try_to_load_from_cache(model, "config.json", revision=revision)
    folder = Path(config).parent if isinstance(config, str) else None
    return folder if folder is not None and any(folder.glob(WEIGHTS)) else None


def _fetch(model: str, revision: str) -> Path:
    import huggingface_hub
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    hub: Any = huggingface_hub
    hub.logging.set_verbosity_error()  # its retries; the reason is told once, below
    try:
        return Path(hub.snapshot_download(model, revision=revision, allow_patterns=READ))
    except GatedRepoError:
        advice = "the token in HF_TOKEN has no access" if os.environ.get("HF_TOKEN") else "set HF_TOKEN"
        raise ValueError(f"model {model} is gated: accept its licence on the hub, then {advice}") from None
    except RevisionNotFoundError:
        raise ValueError(f"model {model} has no revision {revision}") from None
    except RepositoryNotFoundError:
        raise ValueError(f"model {model} is not on the hub, or is private: check its id, or set HF_TOKEN") from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"model {model} at {revision[:12]} could not be fetched and is not in the cache ({reason})") from None
