"""The command `doctor`: what is installed, which devices there are, and how fast a step is."""
