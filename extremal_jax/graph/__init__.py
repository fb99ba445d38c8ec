"""Interpret, rewrite and take apart any JAX function."""
