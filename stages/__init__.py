"""The stages of the pipeline; dvc.yaml runs each as `python -m stages.NAME`."""

import stages.snapshot  # noqa: F401 (it must see our code before anything else imports it)
from lm.system.installation import check_installation

check_installation()  # before anything else is imported
