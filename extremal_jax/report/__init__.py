"""Reports: results as pages to look through in a browser, HTML files that load nothing from anywhere."""

from extremal_jax.report.gallery import write_sweep
from extremal_jax.report.writing import write

__all__ = ["write", "write_sweep"]
