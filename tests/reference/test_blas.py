"""Tests of lm/reference/blas.py."""

import os
import subprocess
import sys

from lm.reference.blas import blas_threads


def test_the_threads_are_those_that_the_environment_sets() -> None:
    if blas_threads() is None:  # a BLAS of which nothing is known, such as Apple's
        return
    command = [sys.executable, "-c", "from lm.reference.blas import blas_threads; print(blas_threads())"]
    limits = dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1")
    output = subprocess.run(command, env=os.environ | limits, capture_output=True, text=True, check=True).stdout
    assert output == "1\n"
