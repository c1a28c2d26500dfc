"""What a person runs beside the pipeline, as `python -m commands.NAME`."""

from lm.system.installation import check_installation

check_installation()  # before anything else is imported
