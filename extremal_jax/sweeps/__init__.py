"""Dataset sweeps: every picture explained, on all devices and hosts, into a store that survives any kill."""

from extremal_jax.sweeps.exporting import Exported, export
from extremal_jax.sweeps.opened import Counts, Sweep, open_sweep
from extremal_jax.sweeps.planning import Plan, plan
from extremal_jax.sweeps.running import sweep

__all__ = ["Counts", "Exported", "Plan", "Sweep", "export", "open_sweep", "plan", "sweep"]
