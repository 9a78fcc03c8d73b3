"""The error that users see as a message instead of a traceback, and errors that need not be one."""

from __future__ import annotations

from contextlib import suppress
from typing import Any


class SalcrError(Exception):
    """Something the user can correct: bad data, a bad key, a collapsed training.

    The message names the file or the key and says what to do. The command line and the
    Snakefile print it without a traceback and exit with 1.
    """


class UndecodableError(SalcrError):
    """A file that is named like a picture, but damaged or something else."""


# The words of torch and the libraries below it, on a GPU and on a CPU. Most raise a RuntimeError;
# others occur where the memory does not even suffice to load a library.
_NO_MEMORY = (
    "out of memory", "llocate memory", "ALLOC_FAILED", "could not create a primitive",
    "libllvmlite.so",
)  # fmt: skip
_KINDS = (RuntimeError, OSError, ImportError)


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an exception says that a GPU or the machine has no memory left."""
    says_so = isinstance(error, _KINDS) and any(part in str(error) for part in _NO_MEMORY)
    return says_so or isinstance(error, MemoryError)


def is_of_gpu(error: Exception) -> bool:
    """Return whether an exception is of CUDA or one of its libraries."""
    return any(name in str(error).upper() for name in ("CUDA", "CUBLAS", "CUDNN"))


def cache_without_errors(compiled: Any) -> Any:
    """Let a function of numba keep its compiled code on disk, where that works; return it.

    Without a folder that can be written, and with a file that is cut or that somebody else may read
    alone, the code is compiled again. numba itself would end with an error in every later process.
    """
    with suppress(AttributeError):  # not a function of numba, by NUMBA_DISABLE_JIT
        try:
            compiled.enable_caching()
        except RuntimeError:  # there is no folder
            return compiled
        cache = compiled._cache
        load, save = cache.load_overload, cache.save_overload

        def load_if_whole(*arguments: Any) -> Any:
            try:
                return load(*arguments)
            except Exception:  # of many types, as the file may hold anything
                with suppress(Exception):
                    cache.flush()  # writes an empty list of files; `save` would read the old one
                return None

        def save_if_possible(*arguments: Any) -> None:
            with suppress(Exception):
                save(*arguments)

        cache.load_overload, cache.save_overload = load_if_whole, save_if_possible
    return compiled
