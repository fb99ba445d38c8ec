"""What a machine has for this package: packages, devices, extras, weights, caches, and the time of a step."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import time
from pathlib import Path
from typing import Any

_PACKAGE = "extremal-jax"
_DEVELOPERS = ("dev", "docs", "test")  # extras that users do not need
# What an extra of JAX installs; any one of them will do.
_PLUGINS = {"jax[cuda12]": ("jax-cuda12-plugin", "jax-cuda13-plugin"), "jax[tpu]": ("libtpu",)}
_STEPS = 20  # of the run that is timed: two parts, and the second is timed


def packages() -> dict[str, str | None]:
    """The versions of Python, of this package and of those that it needs; None: not installed."""
    needed = [name for name, extra in _requirements() if extra is None]
    return {"python": platform.python_version()} | {name: _version(name) for name in [_PACKAGE, "jaxlib", *needed]}


def extras() -> dict[str, list[str]]:
    """The extras of this package, each with the packages of it that are not installed."""
    found: dict[str, list[str]] = {}
    for name, extra in _requirements():
        if extra is not None and extra not in _DEVELOPERS:
            missing = found.setdefault(extra, [])
            if all(_version(one) is None for one in _PLUGINS.get(name, (name,))):
                missing.append(name)
    return found


def devices() -> tuple[list[dict[str, Any]], str | None]:
    """The devices that JAX sees, with their memory in bytes where it is known; or no device, and JAX's error."""
    import jax

    try:
        found = jax.devices()
    except Exception as error:  # a plugin that fails may raise anything
        unsaid = f"{type(error).__name__} with JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS', '')!r}; unset it, or set it to cpu"
        return [], " ".join(str(error).split()) or unsaid
    memory = [(one.memory_stats() or {}).get("bytes_limit") for one in found]
    return [
        {"platform": one.platform, "kind": one.device_kind, "memory_bytes": limit} for one, limit in zip(found, memory, strict=True)
    ], None


def has_nvidia_gpu() -> bool:
    """Whether the machine has a GPU of NVIDIA, seen by JAX or not."""
    return Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidia0").exists()


def weights() -> dict[str, str | None]:
    """The files of the classifiers whose weights come with a package; None: not installed, or broken."""
    from extremal_jax.models.entries import ENTRIES
    from extremal_jax.models.weights import PRETRAINED

    found: dict[str, str | None] = {}
    for name, entry in ENTRIES.items():
        if entry.package is not None:
            try:
                found[name] = str(entry.package.find())
            except (ImportError, FileNotFoundError, ValueError):
                found[name] = None
        elif (PRETRAINED / f"{name}.safetensors").is_file():
            found[name] = str(PRETRAINED / f"{name}.safetensors")
    return found


def caches() -> dict[str, dict[str, Any] | None]:
    """The folders of caches with their sizes in bytes; None: compiled programs are not kept."""
    import jax

    hub = os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME") or "~/.cache/huggingface", "hub")
    settings: Any = jax.config
    compiled = settings.jax_compilation_cache_dir
    return {"compiled programs": _folder(compiled) if compiled else None, "weights of the hub": _folder(hub)}


def speed() -> dict[str, float]:
    """Seconds to compile the packaged classifier's run, and of one of its steps with four areas, at 128x128 pixels."""
    import extremal_jax as ej
    from extremal_jax.boundary.areas import USUAL_AREAS

    model = ej.models.load("scenes")
    image = model.preprocess(ej.data.scenes.generate(0, 1).images[0])
    config = ej.Config(num_steps=_STEPS)
    reports: list[tuple[int, float]] = []

    def run() -> float:
        reports.clear()
        begin = time.perf_counter()
        watch = lambda now: reports.append((now.step, time.perf_counter()))  # noqa: E731
        ej.extremal_perturbation(model, image, 0, USUAL_AREAS, config=config, progress=watch)
        return time.perf_counter() - begin

    first, second = run(), run()
    (start, begin), (stop, end) = reports[0], reports[-1]
    return {"compile_seconds": max(first - second, 0.0), "step_seconds": (end - begin) / (stop - start)}


def _requirements() -> list[tuple[str, str | None]]:
    """The names of the packages that this package needs, JAX's with its own extra, and the extra that asks for each."""
    found = []
    for line in importlib.metadata.requires(_PACKAGE) or []:
        name, extra = re.match(r"[\w.-]+(\[[\w,]+\])?", line), re.search(r"extra == ['\"]([\w-]+)['\"]", line)
        if name is not None:
            found.append((name[0], extra and extra[1]))
    return found


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _folder(path: str | os.PathLike[str]) -> dict[str, Any]:
    folder = Path(path).expanduser()
    files = [file for file in folder.rglob("*") if file.is_file() and not file.is_symlink()]
    return {"folder": str(folder), "bytes": sum(file.stat().st_size for file in files)}
