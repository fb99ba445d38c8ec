"""The smallest area that suffices."""
