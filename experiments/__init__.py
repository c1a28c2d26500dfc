"""Named experiments: defined in experiments.yaml, run by DVC, compared, and shown in a report."""

from lm.system.installation import check_installation

check_installation()  # before anything else is imported
