"""What everything stands on: checks, files, filters, pytrees."""
