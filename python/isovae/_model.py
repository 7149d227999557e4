"""Handles of the library as objects: a context, rows, a model."""

from __future__ import annotations

import ctypes
import json
import os
import struct
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ctypes import byref, c_char_p, c_size_t, c_void_p
from typing import Any

import numpy as np

from . import _library as lib
from ._rows import FloatArray, Form, Rows
from ._watch import Watch


class Context:
    """Threads and progress of one call; for a `with` statement."""

    def __init__(self, threads: int, watch: Watch) -> None:
        self._config = lib.config(lib.ContextConfig, "context")
        self._config.threads = threads
        self._config.progress = watch.callback
        self.handle = c_void_p()

    def __enter__(self) -> Context:
        lib.call("isovae_context_new", byref(self._config), byref(self.handle))
        return self

    def __exit__(self, *_: Any) -> None:
        lib.library.isovae_context_free(self.handle)


def _layout(values: FloatArray, *, keep_bytes: bool = False) -> tuple[FloatArray, int, int, int]:
    """The array as the library may read it in place: float or double, no stride of 0."""
    kind = {np.dtype(np.float32): lib.F32, np.dtype(np.float64): lib.F64}
    if keep_bytes:
        kind[np.dtype(np.uint8)] = lib.U8
    if values.dtype not in kind:
        values = values.astype(np.float32 if values.dtype == np.uint8 else np.float64)
    if 0 in values.strides and values.size > 0:
        values = np.ascontiguousarray(values)
    down, across = values.strides
    return values, kind[values.dtype], down, across


def _texts(texts: Sequence[str]) -> Any:
    return (c_char_p * len(texts))(*[text.encode() for text in texts])


def _take_text(text: c_void_p) -> str:
    """The library's text, which is released."""
    try:
        return ctypes.string_at(text).decode()
    finally:
        lib.library.isovae_string_free(text)


def take_forms(
    name: str, handle: c_void_p, forms: Sequence[int] = (lib.TEXT, lib.JSON, lib.HTML)
) -> list[str]:
    """The forms of a report or an answer, as the library's function `name` writes them."""
    out = []
    for form in forms:
        text = c_void_p()
        lib.call(name, handle, form, byref(text))
        out.append(_take_text(text))
    return out


class Data:
    """Rows as the library keeps them, a copy in single precision or bytes; for a `with` statement."""

    def __init__(self, rows: Rows, form: Form) -> None:
        self._rows = rows
        self._form = form
        self.handle = c_void_p()

    def __enter__(self) -> Data:
        config = lib.config(lib.RowsConfig, "rows")
        form = self._form
        if form.columns is not None and form.names is not None:
            config.names = _texts(form.names)
        if form.image is not None:
            config.height, config.width, config.channels = form.image
        if form.words:
            config.categories = (lib.Category * len(form.words))(
                *[
                    lib.Category(
                        word.first, len(word.values), word.column.encode(), _texts(word.values)
                    )
                    for word in form.words
                ]
            )
            config.n_categories = len(form.words)
        values, dtype, down, across = _layout(self._rows.part(slice(None)), keep_bytes=True)
        lib.call(
            "isovae_data_from_array",
            values.ctypes.data,
            dtype,
            *values.shape,
            down,
            across,
            byref(config),
            byref(self.handle),
        )
        return self

    def __exit__(self, *_: Any) -> None:
        lib.library.isovae_data_free(self.handle)


def _release(scorers: list[tuple[str, c_void_p]], handle: c_void_p) -> None:
    for _, scorer in scorers:
        lib.library.isovae_scorer_free(scorer)
    lib.library.isovae_model_free(handle)


class Model:
    """A trained model. Immutable; threads may share it, and it pickles as the bytes of its file."""

    def __init__(self, handle: c_void_p) -> None:
        self._handle = handle
        self._scorers: list[tuple[str, c_void_p]] = []  # those that no thread uses now
        self._finalizer = weakref.finalize(self, _release, self._scorers, handle)
        self.features: int = lib.library.isovae_model_features(handle)
        self.latents: int = lib.library.isovae_model_latents(handle)
        self.members: int = lib.library.isovae_model_members(handle)
        self.active: int = lib.library.isovae_model_active(handle)
        self.beta: float = lib.library.isovae_model_beta(handle)

    @classmethod
    def from_bytes(cls, content: bytes) -> Model:
        handle = c_void_p()
        lib.call("isovae_model_load_memory", content, len(content), byref(handle))
        return cls(handle)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Model:
        handle = c_void_p()
        lib.call("isovae_model_load", os.fsencode(path), byref(handle))
        return cls(handle)

    @classmethod
    def fit(cls, context: Context, data: Data, config: lib.FitConfig) -> Model:
        handle = c_void_p()
        lib.call("isovae_fit", context.handle, data.handle, byref(config), byref(handle))
        return cls(handle)

    def save(self, path: str | os.PathLike[str]) -> None:
        lib.call("isovae_model_save", self._handle, os.fsencode(path))

    def to_bytes(self) -> bytes:
        content, length = c_void_p(), c_size_t()
        lib.call("isovae_model_save_memory", self._handle, byref(content), byref(length))
        try:
            return ctypes.string_at(content, length.value)
        finally:
            lib.library.isovae_bytes_free(content)

    def __reduce__(self) -> tuple[Any, ...]:
        return Model.from_bytes, (self.to_bytes(),)

    @property
    def metadata(self) -> dict[str, Any]:
        """What the file says of itself (docs/format.md), the weights left out."""
        content = self.to_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + length])
        out: dict[str, Any] = json.loads(header["__metadata__"]["isovae"])
        return out

    @property
    def active_mask(self) -> FloatArray:
        """Which latents carry information."""
        active = self.metadata.get("calibration", {}).get("active", [1] * self.latents)
        return np.array(active, dtype=bool)

    def variances(self) -> FloatArray:
        at = lib.library.isovae_model_variance
        return np.array([at(self._handle, j) for j in range(self.latents)])

    def quantile(self, share: float) -> float:
        return float(lib.library.isovae_model_quantile(self._handle, share))

    def tail_prob(self, log_density: FloatArray) -> FloatArray:
        at = lib.library.isovae_tail_prob
        return np.array([at(self._handle, float(value)) for value in log_density])

    # Work on rows, in place. A scorer serves one call at a time: each thread takes its own.

    def _take_scorer(self, estimate: str) -> c_void_p:
        for place, (known, scorer) in enumerate(self._scorers):
            if known == estimate:
                try:
                    taken = self._scorers.pop(place)
                except IndexError:  # another thread was there first
                    break
                if taken[0] == estimate:
                    return taken[1]
                self._scorers.append(taken)
                break
        config = lib.config(lib.ScorerConfig, "scorer")
        config.estimate = estimate.encode()
        out = c_void_p()
        lib.call("isovae_scorer_new", self._handle, byref(config), byref(out))
        return out

    def _over(
        self,
        rows: Rows,
        threads: int,
        estimate: str,
        work: Callable[[c_void_p, slice, tuple[Any, ...]], None],
    ) -> None:
        """work(scorer, slice, array) over parts of the rows; Ctrl-C is seen between them.

        array: address, dtype, rows and strides, as the library's functions take them.
        """
        count = len(rows)
        step = max(64, min(8192, (1 << 22) // max(1, rows.features)))
        parts = [slice(first, min(first + step, count)) for first in range(0, count, step)]

        def one(part: slice) -> None:
            x, dtype, down, across = _layout(rows.part(part))
            scorer = self._take_scorer(estimate)
            try:
                work(scorer, part, (x.ctypes.data, dtype, len(x), down, across))
            finally:
                self._scorers.append((estimate, scorer))

        if threads == 1 or len(parts) == 1:
            for part in parts:
                one(part)
            return
        with ThreadPoolExecutor(min(threads, len(parts))) as pool:
            futures = [pool.submit(one, part) for part in parts]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                for future in futures:
                    future.cancel()
                raise

    def score(self, rows: Rows, threads: int, estimate: str = "elbo") -> FloatArray:
        out = np.empty(len(rows))

        def work(scorer: c_void_p, part: slice, x: tuple[Any, ...]) -> None:
            lib.call("isovae_scorer_score", scorer, *x, out[part].ctypes.data, None)

        self._over(rows, threads, estimate, work)
        return out

    def encode(self, rows: Rows, threads: int, what: str = "mu") -> FloatArray:
        """What: "mu" and "sigma" of the posterior, or the isometric coordinates "y"."""
        out = np.empty((len(rows), self.latents))

        def work(scorer: c_void_p, part: slice, x: tuple[Any, ...]) -> None:
            to = out[part].ctypes.data
            places = [to if what == each else None for each in ("mu", "sigma", "y")]
            lib.call("isovae_scorer_encode", scorer, *x, *places, None)

        self._over(rows, threads, "elbo", work)
        return out

    def decode(self, latents: FloatArray, threads: int) -> FloatArray:
        out = np.empty((len(latents), self.features))

        def work(scorer: c_void_p, part: slice, z: tuple[Any, ...]) -> None:
            lib.call("isovae_scorer_decode", scorer, *z, out[part].ctypes.data, None)

        self._over(Rows(latents), threads, "elbo", work)
        return out

    def from_isometric(self, y: FloatArray) -> FloatArray:
        y = np.ascontiguousarray(y, dtype=np.float64)
        out = np.empty_like(y)
        lib.call("isovae_from_isometric", self._handle, y.ctypes.data, len(y), out.ctypes.data)
        return out

    def sample(self, context: Context, seed: int, rows: int, noise: bool) -> FloatArray:
        out = np.empty((rows, self.features))
        lib.call(
            "isovae_sample", context.handle, self._handle, seed, rows, int(noise), out.ctypes.data
        )
        return out

    def explain(self, context: Context, data: Data, rows: int) -> tuple[FloatArray, FloatArray]:
        """Contributions of features and latents, in nats."""
        feature, latent = np.empty((rows, self.features)), np.empty((rows, self.latents))
        lib.call(
            "isovae_explain",
            context.handle,
            self._handle,
            data.handle,
            feature.ctypes.data,
            latent.ctypes.data,
        )
        return feature, latent

    def prune(self, context: Context, data: Data | None) -> tuple[Model, lib.Pruned]:
        handle, about = c_void_p(), lib.Pruned()
        lib.call(
            "isovae_prune",
            context.handle,
            self._handle,
            None if data is None else data.handle,
            byref(handle),
            byref(about),
        )
        return Model(handle), about

    def export_onnx(self, folder: str | os.PathLike[str]) -> str | None:
        """Why there is no scorer.onnx, or None."""
        reason = c_void_p()
        lib.call("isovae_export_onnx", self._handle, os.fsencode(folder), byref(reason))
        return _take_text(reason) if reason else None

    def report(
        self,
        context: Context,
        data: Data,
        rows: str,
        member: int = 0,
        iwae: tuple[int, int] = (64, 1000),
        labels: tuple[FloatArray, list[str] | None, str] | None = None,
    ) -> tuple[str, dict[str, Any], str, FloatArray, FloatArray]:
        """Text, JSON, page, and the loadings: means and root mean squares."""
        config = lib.config(lib.ReportConfig, "report")
        config.rows = rows.encode()
        config.member = member
        config.iwae_draws, config.iwae_rows = iwae
        config.no_iwae = int(iwae[0] == 0)
        if labels is not None:
            values, classes, name = labels
            config.labels = values.ctypes.data
            config.label_name = name.encode()
            if classes is not None:
                config.label_classes = _texts(classes)
                config.n_label_classes = len(classes)
        handle = c_void_p()
        lib.call(
            "isovae_report_new",
            context.handle,
            self._handle,
            data.handle,
            byref(config),
            byref(handle),
        )
        try:
            return read_report(handle)
        finally:
            lib.library.isovae_report_free(handle)


def read_report(
    handle: c_void_p,
) -> tuple[str, dict[str, Any], str, FloatArray, FloatArray]:
    """Text, JSON, page, and the loadings: means and root mean squares."""
    text, json_text, page = take_forms("isovae_report_write", handle)
    content = json.loads(json_text)
    mean = np.empty((content["latent_dim"], content["input_dim"]))
    rms = np.empty_like(mean)
    lib.library.isovae_report_loadings(handle, mean.ctypes.data, rms.ctypes.data)
    return text, content, page, mean, rms
