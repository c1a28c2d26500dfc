"""The stages of the pipeline; dvc.yaml runs each as `python -m stages.NAME`."""

from lm.system.installation import check_installation

check_installation()  # before anything else is imported
