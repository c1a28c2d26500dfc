"""Run experiments with DVC and read their results; run a commit again to verify it; push the files of all runs."""
