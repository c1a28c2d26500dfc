"""Named experiments: defined in experiments.yaml, run by DVC, compared, and shown in a report."""
