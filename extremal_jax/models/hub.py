"""Weights from the Hugging Face hub, through its own client: its cache, progress bar, settings and offline mode."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extremal_jax.ground.checks import nearest

FILENAMES = ("model.safetensors", "pytorch_model.bin")  # in order of preference


@dataclass(frozen=True)
class HubFile:
    """A file on the hub. Published weights are listed with the full hash of a commit as their revision, and their digest.

    Attributes:
      repo: "owner/name".
      filename: within the repository; None: the first of `FILENAMES` that exists.
      revision: a commit, tag or branch; None: the default branch.
      sha256: the hexadecimal digest of its content; None: the one that the hub publishes.
    """

    repo: str
    filename: str | None = None
    revision: str | None = None
    sha256: str | None = None

    def fetch(self) -> Path:
        """Download the file, unless it is in the cache, verify it, and return its path in the cache.

        The digest is verified each time, if `sha256` gives one or the hub publishes one, as it does for large files.

        Raises:
          ImportError: if huggingface_hub is not installed.
          FileNotFoundError: if there is no such repository, revision or file.
          PermissionError: if the repository's terms must be accepted first.
          ConnectionError: if the hub cannot be reached, or offline mode is on, and the file is not in the cache.
          ValueError: if an attribute is malformed or the digest is wrong.
        """
        if self.sha256 is not None and not _is_digest(self.sha256):
            raise ValueError(f"sha256 must be 64 hexadecimal digits, got {self.sha256!r}")
        try:
            import huggingface_hub  # noqa: F401
        except ImportError as error:
            advice = "install it by `pip install 'extremal-jax[hub]'`, or give the name of a file"
            raise ImportError(f"weights from the Hugging Face hub need the package huggingface_hub; {advice}") from error
        with _sentences(self.repo, self.revision):
            path = _download(self.repo, FILENAMES if self.filename is None else (self.filename,), self.revision)
        _verify(path, self.sha256)
        return path

    def config(self) -> dict[str, Any]:
        """The config.json of its repository at its revision; empty if there is none, or, with a warning, if it cannot be reached."""
        try:
            text = HubFile(self.repo, "config.json", self.revision).fetch().read_bytes()
        except FileNotFoundError:
            return {}
        except ConnectionError as error:
            unknown = f"images are prepared as for the default weights, because the config of {self.repo} is unknown: {error}"
            warnings.warn(unknown, stacklevel=3)
            return {}
        try:
            content = json.loads(text)
        except ValueError:
            return {}
        return content if isinstance(content, dict) else {}


def parse(text: str) -> HubFile:
    """The file that "hub:owner/name", "hub:owner/name@revision" or "hub:owner/name/filename@revision" means.

    Example:
      >>> parse("hub:timm/resnet50.a1_in1k@main")
      HubFile(repo='timm/resnet50.a1_in1k', filename=None, revision='main', sha256=None)
    """
    found = re.fullmatch(r"hub:([\w.-]+/[\w.-]+)(?:/([^@\s]+))?(?:@(\S+))?", text)
    if not found:
        raise ValueError(f'weights on the hub are written "hub:owner/name" or "hub:owner/name@revision", got {text!r}')
    return HubFile(*found.groups())


def _download(repo: str, filenames: tuple[str, ...], revision: str | None) -> Path:
    """The first that exists; if the hub cannot be reached, the first in the cache."""
    from huggingface_hub import hf_hub_download, list_repo_files
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    unreachable: LocalEntryNotFoundError | None = None
    for filename in filenames:
        try:
            return Path(hf_hub_download(repo, filename, revision=revision, local_files_only=unreachable is not None))
        except LocalEntryNotFoundError as error:
            unreachable = unreachable or error
        except EntryNotFoundError:
            continue
    if unreachable:
        raise unreachable
    wanted = " or ".join(map(repr, filenames))
    raise FileNotFoundError(f"{repo} has no file {wanted}; {nearest(filenames[0], list_repo_files(repo, revision=revision))}")


@contextlib.contextmanager
def _sentences(repo: str, revision: str | None) -> Iterator[None]:
    """Turn the client's errors into sentences that say what to try."""
    from huggingface_hub import constants, errors
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # of the client's transport

    hub = constants.ENDPOINT
    try:
        yield
    except errors.HFValidationError as error:
        raise ValueError(f'a repository is written "owner/name", got {repo!r}') from error
    except errors.GatedRepoError as error:
        raise PermissionError(f"{repo} is gated; accept its terms at {hub}/{repo} and log in by `hf auth login`") from error
    except errors.RepositoryNotFoundError as error:
        reason = "or it is private; check the name, or log in by `hf auth login`"
        raise FileNotFoundError(f"{hub} has no repository {repo!r}, {reason}") from error
    except errors.RevisionNotFoundError as error:
        raise FileNotFoundError(f"{repo} has no revision {revision!r}; give a commit, tag or branch, or none") from error
    except errors.LocalEntryNotFoundError as error:
        if constants.HF_HUB_OFFLINE:
            raise ConnectionError(f"{repo} is not in the cache, and offline mode is on; unset HF_HUB_OFFLINE, or give a file") from error
        reason = _first_line(error.__cause__ or error)
        raise ConnectionError(f"{hub} cannot be reached ({reason}), and {repo} is not in the cache; try later, or give a file") from error
    except HTTPError as error:
        raise ConnectionError(f"fetching {repo} from {hub} failed ({_first_line(error)}); try again, or give a file") from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _verify(path: Path, sha256: str | None) -> None:
    """Compare the digest with `sha256` and with the published one, which is the file's name in the cache."""
    content = path.resolve()
    published = content.name if _is_digest(content.name) else None
    if sha256 is None and published is None:
        return
    with content.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if published not in (None, digest):
        raise ValueError(f"{content} is corrupted: its SHA-256 is {digest}, and {published} is published; delete it and call again")
    if sha256 is not None and sha256.lower() != digest:
        raise ValueError(f"{path.name} has the SHA-256 {digest}, and {sha256.lower()} was expected; it is another file and is not used")


def _is_digest(text: str) -> bool:
    return re.fullmatch(r"[0-9a-fA-F]{64}", text) is not None
