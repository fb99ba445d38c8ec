"""Channel attribution: which channels of a layer excite a class."""
