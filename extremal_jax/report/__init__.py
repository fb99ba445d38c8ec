"""Reports: results as a page to look through in a browser, one HTML file that loads nothing from anywhere."""

from extremal_jax.report.writing import write

__all__ = ["write"]
