"""libisovae through ctypes: its structs, its functions, and its errors as exceptions.

ctypes releases the interpreter's lock for the length of every call.
"""

from __future__ import annotations

import ctypes
import os
import re
from ctypes import (
    POINTER,
    byref,
    c_char_p,
    c_double,
    c_int,
    c_size_t,
    c_ssize_t,
    c_uint64,
    c_void_p,
)
from pathlib import Path
from typing import Any

__all__ = [
    "IsoVAEError",
    "IsoVAEIOError",
    "IsoVAEMemoryError",
    "IsoVAERuntimeError",
    "IsoVAEValueError",
]


class IsoVAEError(Exception):
    """What libisovae refuses or fails at; the message is the library's."""


class IsoVAEValueError(IsoVAEError, ValueError):
    """A parameter, an array or a model file that cannot be used."""


class IsoVAERuntimeError(IsoVAEError, RuntimeError):
    """Training that diverged, or something that this model or build cannot do."""


class IsoVAEMemoryError(IsoVAEError, MemoryError):
    """Out of memory."""


class IsoVAEIOError(IsoVAEError, OSError):
    """The system refused a read or write."""


OK, ARGUMENT, DATA, FORMAT, VERSION, MEMORY, IO, DIVERGED, CANCELLED, UNSUPPORTED, INTERNAL = range(
    11
)
_EXCEPTIONS: dict[int, type[IsoVAEError]] = {
    ARGUMENT: IsoVAEValueError,
    DATA: IsoVAEValueError,
    FORMAT: IsoVAEValueError,
    VERSION: IsoVAEValueError,
    MEMORY: IsoVAEMemoryError,
    IO: IsoVAEIOError,
}

F32, F64, U8 = 0, 1, 2
TEXT, JSON, HTML = 0, 1, 2

ProgressFn = ctypes.CFUNCTYPE(c_int, c_void_p, c_char_p, c_double, c_double)
NoteFn = ctypes.CFUNCTYPE(None, c_void_p, c_char_p)
_DOUBLES = POINTER(c_double)
EncodeFn = ctypes.CFUNCTYPE(c_int, c_void_p, c_size_t, _DOUBLES, _DOUBLES, _DOUBLES)
DecodeFn = ctypes.CFUNCTYPE(c_int, c_void_p, c_size_t, _DOUBLES, _DOUBLES)
PullbackFn = ctypes.CFUNCTYPE(c_int, c_void_p, c_size_t, _DOUBLES, _DOUBLES, _DOUBLES)
PushforwardFn = ctypes.CFUNCTYPE(c_int, c_void_p, c_size_t, _DOUBLES, c_size_t, _DOUBLES, _DOUBLES)


class Error(ctypes.Structure):
    _fields_ = [("status", c_int), ("message", ctypes.c_char * 1024)]


class ContextConfig(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("threads", c_size_t),
        ("isa", c_char_p),
        ("progress", ProgressFn),
        ("user", c_void_p),
    ]


class Category(ctypes.Structure):
    _fields_ = [
        ("first", c_size_t),
        ("n", c_size_t),
        ("column", c_char_p),
        ("values", POINTER(c_char_p)),
    ]


class RowsConfig(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("names", POINTER(c_char_p)),
        ("height", c_size_t),
        ("width", c_size_t),
        ("channels", c_size_t),
        ("categories", POINTER(Category)),
        ("n_categories", c_size_t),
    ]


class FitConfig(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("latent_dim", c_size_t),
        ("beta", c_double),
        ("loss", c_char_p),
        ("objective", c_char_p),
        ("arch", c_char_p),
        ("activation", c_char_p),
        ("scale", c_char_p),
        ("steps", c_size_t),
        ("epochs", c_size_t),
        ("batch_size", c_size_t),
        ("learning_rate", c_double),
        ("validation", c_double),
        ("seed", c_uint64),
        ("preset", c_char_p),
        ("ensemble", c_size_t),
        ("noise", c_char_p),
        ("noise_floor", c_double),
        ("beta_floor", c_double),
        ("beta_start", c_double),
        ("kl_warmup", c_double),
        ("denoise", c_double),
        ("weight_decay", c_double),
        ("lr_schedule", c_char_p),
        ("lr_warmup", c_size_t),
        ("patience", c_size_t),
        ("init", c_char_p),
        ("quick", c_int),
        ("no_restart", c_int),
        ("max_seconds", c_double),
        ("note", NoteFn),
        ("note_user", c_void_p),
        ("noise_start", c_double),
        ("validation_data", c_void_p),
        ("init_from", c_char_p),
        ("checkpoint", c_char_p),
    ]


class ScorerConfig(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("estimate", c_char_p),
        ("batch", c_size_t),
        ("isa", c_char_p),
        ("progress", ProgressFn),
        ("user", c_void_p),
    ]


class ReportConfig(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("rows", c_char_p),
        ("iwae_draws", c_size_t),
        ("iwae_rows", c_size_t),
        ("no_iwae", c_int),
        ("member", c_size_t),
        ("command", c_char_p),
        ("labels", c_void_p),
        ("label_classes", POINTER(c_char_p)),
        ("n_label_classes", c_size_t),
        ("label_name", c_char_p),
    ]


class SweepConfig(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("target", c_char_p),
        ("points", c_size_t),
        ("steps", c_size_t),
        ("seeds", c_size_t),
        ("beta_from", c_double),
        ("beta_to", c_double),
        ("no_retrain", c_int),
        ("state", c_char_p),
    ]


class StabilityConfig(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("runs", c_size_t),
        ("match", c_double),
        ("same_split", c_int),
        ("folder", c_char_p),
    ]


class Pruned(ctypes.Structure):
    _fields_ = [
        ("latents", c_size_t),
        ("kept", c_size_t),
        ("parameters", c_size_t),
        ("kept_parameters", c_size_t),
        ("rows", c_size_t),
        ("change_rms", c_double),
        ("change_most", c_double),
        ("output_sd", c_double),
    ]


class AuditConfig(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("encoder", c_char_p),
        ("decoder", c_char_p),
        ("mu", c_char_p),
        ("logvar", c_char_p),
        ("z", c_char_p),
        ("reconstruction", c_char_p),
        ("head", c_char_p),
        ("width_first", c_int),
        ("means_only", c_int),
        ("layout", c_char_p),
        ("as_is", c_int),
        ("input_low", c_double),
        ("input_high", c_double),
        ("output_low", c_double),
        ("output_high", c_double),
        ("n_channels", c_size_t),
        ("mean", _DOUBLES),
        ("sd", _DOUBLES),
        ("latents", c_size_t),
        ("encode", EncodeFn),
        ("decode", DecodeFn),
        ("pullback", PullbackFn),
        ("pushforward", PushforwardFn),
        ("networks", c_void_p),
        ("convolutional", c_int),
        ("notes", POINTER(c_char_p)),
        ("n_notes", c_size_t),
        ("loss", c_char_p),
        ("beta", c_double),
        ("loss_scale", c_char_p),
        ("kl_scale", c_char_p),
        ("seed", c_uint64),
        ("iwae_draws", c_size_t),
        ("iwae_rows", c_size_t),
        ("no_iwae", c_int),
        ("command", c_char_p),
    ]


_ERR = POINTER(Error)
_OUT = POINTER(c_void_p)
_ARRAY = [c_void_p, c_int, c_size_t, c_ssize_t, c_ssize_t]  # values, dtype, rows, strides

# name: result, arguments. Results that are c_int are statuses.
_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "isovae_version": (c_char_p, []),
    "isovae_context_config_init_": (None, [POINTER(ContextConfig), c_size_t]),
    "isovae_context_new": (c_int, [POINTER(ContextConfig), _OUT, _ERR]),
    "isovae_context_free": (None, [c_void_p]),
    "isovae_rows_config_init_": (None, [POINTER(RowsConfig), c_size_t]),
    "isovae_data_from_array": (
        c_int,
        [
            c_void_p,
            c_int,
            c_size_t,
            c_size_t,
            c_ssize_t,
            c_ssize_t,
            POINTER(RowsConfig),
            _OUT,
            _ERR,
        ],
    ),
    "isovae_data_free": (None, [c_void_p]),
    "isovae_fit_config_init_": (None, [POINTER(FitConfig), c_size_t]),
    "isovae_fit": (c_int, [c_void_p, c_void_p, POINTER(FitConfig), _OUT, _ERR]),
    "isovae_model_load": (c_int, [c_char_p, _OUT, _ERR]),
    "isovae_model_load_memory": (c_int, [c_char_p, c_size_t, _OUT, _ERR]),
    "isovae_model_save": (c_int, [c_void_p, c_char_p, _ERR]),
    "isovae_model_save_memory": (c_int, [c_void_p, _OUT, POINTER(c_size_t), _ERR]),
    "isovae_bytes_free": (None, [c_void_p]),
    "isovae_model_free": (None, [c_void_p]),
    "isovae_model_features": (c_size_t, [c_void_p]),
    "isovae_model_latents": (c_size_t, [c_void_p]),
    "isovae_model_members": (c_size_t, [c_void_p]),
    "isovae_model_active": (c_size_t, [c_void_p]),
    "isovae_model_beta": (c_double, [c_void_p]),
    "isovae_model_variance": (c_double, [c_void_p, c_size_t]),
    "isovae_model_quantile": (c_double, [c_void_p, c_double]),
    "isovae_tail_prob": (c_double, [c_void_p, c_double]),
    "isovae_scorer_config_init_": (None, [POINTER(ScorerConfig), c_size_t]),
    "isovae_scorer_new": (c_int, [c_void_p, POINTER(ScorerConfig), _OUT, _ERR]),
    "isovae_scorer_free": (None, [c_void_p]),
    "isovae_scorer_score": (c_int, [c_void_p, *_ARRAY, c_void_p, c_void_p, _ERR]),
    "isovae_scorer_encode": (
        c_int,
        [c_void_p, *_ARRAY, c_void_p, c_void_p, c_void_p, c_void_p, _ERR],
    ),
    "isovae_scorer_decode": (c_int, [c_void_p, *_ARRAY, c_void_p, c_void_p, _ERR]),
    "isovae_from_isometric": (c_int, [c_void_p, c_void_p, c_size_t, c_void_p, _ERR]),
    "isovae_sample": (c_int, [c_void_p, c_void_p, c_uint64, c_size_t, c_int, c_void_p, _ERR]),
    "isovae_report_config_init_": (None, [POINTER(ReportConfig), c_size_t]),
    "isovae_report_new": (
        c_int,
        [c_void_p, c_void_p, c_void_p, POINTER(ReportConfig), _OUT, _ERR],
    ),
    "isovae_audit_config_init_": (None, [POINTER(AuditConfig), c_size_t]),
    "isovae_audit": (c_int, [c_void_p, c_void_p, POINTER(AuditConfig), _OUT, _ERR]),
    "isovae_report_free": (None, [c_void_p]),
    "isovae_report_write": (c_int, [c_void_p, c_int, _OUT, _ERR]),
    "isovae_report_loadings": (None, [c_void_p, c_void_p, c_void_p]),
    "isovae_string_free": (None, [c_void_p]),
    "isovae_answer_write": (c_int, [c_void_p, c_int, _OUT, _ERR]),
    "isovae_answer_free": (None, [c_void_p]),
    "isovae_sweep_config_init_": (None, [POINTER(SweepConfig), c_size_t]),
    "isovae_sweep": (
        c_int,
        [c_void_p, c_void_p, POINTER(FitConfig), POINTER(SweepConfig), _OUT, _OUT, _ERR],
    ),
    "isovae_stability_config_init_": (None, [POINTER(StabilityConfig), c_size_t]),
    "isovae_stability": (
        c_int,
        [c_void_p, c_void_p, POINTER(FitConfig), POINTER(StabilityConfig), _OUT, _OUT, _ERR],
    ),
    "isovae_drift": (c_int, [c_void_p, c_void_p, c_void_p, c_void_p, c_double, _OUT, _ERR]),
    "isovae_explain": (c_int, [c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, _ERR]),
    "isovae_prune": (c_int, [c_void_p, c_void_p, c_void_p, _OUT, POINTER(Pruned), _ERR]),
    "isovae_export_onnx": (c_int, [c_void_p, c_char_p, _OUT, _ERR]),
}


def _load() -> ctypes.CDLL:
    """The library beside this file; the environment variable ISOVAE_LIBRARY names another one."""
    path = os.environ.get("ISOVAE_LIBRARY") or str(Path(__file__).with_name("libisovae.so"))
    try:
        library = ctypes.CDLL(path)
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(library, name)
            function.restype = result
            function.argtypes = arguments
    except (OSError, AttributeError) as error:
        raise ImportError(f"isovae: the library does not load: {error}") from error
    return library


library = _load()

# Options of the command, by which the library's messages name them, and the parameters here.
_PARAMETERS = {
    "latent-dim": "n_components",
    "lr": "learning_rate",
    "lr-schedule": "lr_schedule",
    "lr-warmup": "lr_warmup",
    "validation": "validation_fraction",
    "max-time": "max_time",
    "no-restart": "restart=False",
    "beta-range": "beta_range",
    "no-retrain": "retrain=False",
    "seeds": "seeds",
    "explain": "explain",
    "encoder": "encode",
    "decoder": "decode",
}
_SAME = (
    "activation arch batch-size beta beta-floor beta-start denoise ensemble epochs init kl-warmup "
    "head init-from input-range kl-scale layout logvar loss loss-scale match mean means-only mu "
    "noise noise-floor noise-start objective output-range patience points preset quick reconstruction "
    "scale std steps target weight-decay width-first z"
)
_PARAMETERS.update({name: name.replace("-", "_") for name in _SAME.split()})


def in_python(text: str) -> str:
    """A text of the library with the command's options as parameters."""
    return re.sub(
        r"--([a-z][a-z-]*[a-z])",
        lambda match: _PARAMETERS.get(match.group(1), match.group(0)),
        text,
    )


class Cancelled(Exception):
    """The progress callback stopped the call; its reason is raised in place of this."""


def call(name: str, *arguments: Any) -> None:
    """Calls a function that returns a status and takes an isovae_error last."""
    error = Error()
    status = getattr(library, name)(*arguments, byref(error))
    if status == OK:
        return
    if status == CANCELLED:
        raise Cancelled
    message = in_python(error.message.decode("utf-8", "replace"))
    raise _EXCEPTIONS.get(status, IsoVAERuntimeError)(message)


def config(struct: type[ctypes.Structure], name: str) -> Any:
    """A configuration with its defaults."""
    out = struct()
    getattr(library, f"isovae_{name}_config_init_")(byref(out), ctypes.sizeof(out))
    return out
