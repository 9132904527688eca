"""Where the base model comes from: folders, the hub, the embedded ones."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RevisionNotFoundError

from tests.support.broken_studies import write_surroundings
from trainables.models.folder import inspect_folder
from trainables.models.recipes import RECIPES, embedded_shape
from trainables.models.source import ModelSource, digest_model, resolve_model

REVISION = "060db6499f32faf8b98477b0a26969ef7d8b9987"
HUB = ModelSource(id="Qwen/Qwen2.5-0.5B", revision=REVISION, licence="Apache-2.0")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_surroundings(tmp_path)
    return tmp_path / "model"


def test_a_folder_is_known_by_its_content(folder: Path, tmp_path: Path) -> None:
    resolved = resolve_model(ModelSource(path=str(folder), licence="MIT"), fetch=True)
    assert resolved.folder == folder
    assert resolved.shape == inspect_folder(folder).shape
    assert resolved.digest == digest_model(folder)
    moved = folder.rename(tmp_path / "moved")
    (moved / "README.md").write_text("not read by anything")
    assert digest_model(moved) == resolved.digest
    (moved / "model.safetensors").write_bytes(b"other weights")
    assert digest_model(moved) != resolved.digest


def test_checking_hashes_no_weights(folder: Path) -> None:
    assert resolve_model(ModelSource(path=str(folder), licence="MIT"), fetch=False).digest is None


@pytest.mark.parametrize(
    ("missing", "says"),
    [("config.json", "has no config.json"), ("model.safetensors", "weights in safetensors"), ("tokenizer.json", "has no tokenizer.json")],
)
def test_a_folder_lacking_a_part_is_refused(missing: str, says: str, folder: Path) -> None:
    (folder / missing).unlink()
    with pytest.raises(ValueError, match=says):
        inspect_folder(folder)


def test_another_architecture_is_refused(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(ValueError, match="model_type 'gpt2' is not supported; allowed: qwen2, qwen3, llama, mistral"):
        inspect_folder(folder)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_the_embedded_ones_have_a_shape_before_they_are_trained(name: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIKAKU_CACHE", str(tmp_path))
    resolved = resolve_model(ModelSource(embedded=name, licence="Apache-2.0"), fetch=False)
    assert (resolved.folder, resolved.lacks) == (None, "training")
    assert resolved.shape == embedded_shape(RECIPES[name])
    assert list(tmp_path.iterdir()) == []


def test_a_cached_hub_model_is_found_without_a_network(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    assert resolve_model(HUB, fetch=False).lacks == "download"
    snapshots = tmp_path / "hub" / "models--Qwen--Qwen2.5-0.5B" / "snapshots"
    snapshots.mkdir(parents=True)
    folder.rename(snapshots / REVISION)
    resolved = resolve_model(HUB, fetch=False)
    assert (resolved.folder, resolved.digest, resolved.lacks) == (snapshots / REVISION, REVISION, None)


def test_fetching_asks_for_weights_configuration_and_tokenizer_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda model, **options: asked.update(options, model=model) or str(folder))
    assert resolve_model(HUB, fetch=True).folder == folder
    assert (asked["model"], asked["revision"]) == ("Qwen/Qwen2.5-0.5B", REVISION)
    assert not any(name.endswith((".bin", ".py", ".pt", ".pkl")) for name in asked["allow_patterns"])


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (GatedRepoError, "is gated: accept its licence on the hub, then set HF_TOKEN"),
        (RevisionNotFoundError, "has no revision 060db"),
        (LocalEntryNotFoundError, "could not be fetched and is not in the cache"),
    ],
)
def test_what_cannot_be_fetched_is_told_in_one_line(error: Any, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        if error is LocalEntryNotFoundError:
            raise error("no connection\nand more")
        raise error("refused", response=SimpleNamespace(headers={}, request=None))

    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(ValueError, match=says) as raised:
        resolve_model(HUB, fetch=True)
    assert "\n" not in str(raised.value)
