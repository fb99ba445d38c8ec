"""The optimisation: solver, driver, schedules, optimizers; the settings and results that all runs share."""
