"""Networks of inputs that have a time: clips and series."""
