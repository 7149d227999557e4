"""Variational autoencoders, trained and explained in numbers.

What an eigenvalue plot does for PCA: how important each latent is, which features it moves, how
probable a row is in nats, and how far the model is from the optimum.
"""

from ._audit import audit
from ._checkpoints import CheckpointTable, audit_checkpoints
from ._detector import IsoVAEDetector, IsoVAEPyOD
from ._estimator import IsoVAE
from ._library import (
    IsoVAEError,
    IsoVAEIOError,
    IsoVAEMemoryError,
    IsoVAERuntimeError,
    IsoVAEValueError,
    library as _library_handle,
)
from ._questions import Drift, Stability, Sweep, drift, export_onnx, prune, stability, sweep
from ._report import Report

__version__: str = _library_handle.isovae_version().decode()

__all__ = [
    "CheckpointTable",
    "Drift",
    "IsoVAE",
    "IsoVAEDetector",
    "IsoVAEError",
    "IsoVAEIOError",
    "IsoVAEMemoryError",
    "IsoVAEPyOD",
    "IsoVAERuntimeError",
    "IsoVAEValueError",
    "Report",
    "Stability",
    "Sweep",
    "audit",
    "audit_checkpoints",
    "drift",
    "export_onnx",
    "prune",
    "stability",
    "sweep",
]
