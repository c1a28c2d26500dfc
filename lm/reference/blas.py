"""The library that multiplies NumPy's matrices (BLAS), and its threads."""

import ctypes
from importlib import import_module

# The same function under its names in NumPy's own wheels, in OpenBLAS and in MKL.
_NAMES = (
    "scipy_openblas_get_num_threads64_",
    "openblas_get_num_threads64_",
    "openblas_get_num_threads",
    "MKL_Get_Max_Threads",
)


def blas_threads() -> int | None:
    """How many threads a matrix product of NumPy uses; None if its library does not say."""
    # A library that a module was linked with is found through the module.
    path = import_module("numpy.linalg._umath_linalg").__file__
    library = ctypes.CDLL(path)
    return next((int(getattr(library, name)()) for name in _NAMES if hasattr(library, name)), None)
