"""What the estimators share: their parameters on the way to the library, fitting, scoring."""

from __future__ import annotations

import os
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from . import _library as lib
from ._model import Context, Data, FloatArray, Model
from ._report import Report
from ._watch import Watch


def _count(name: str, value: Any) -> int:
    if value is None:
        return 0
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a whole number from 1, or None; it is {value!r}")
    return int(value)


def _number(name: str, value: Any) -> float:
    if value is None:
        return float("nan")
    if not isinstance(value, Real) or isinstance(value, bool) or np.isnan(float(value)):
        raise ValueError(f"{name} must be a number or None; it is {value!r}")
    return float(value)


def _text(name: str, value: Any) -> bytes | None:
    if value is None:
        return None
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str) or "\0" in value:
        raise ValueError(f"{name} must be a text or None; it is {value!r}")
    return value.encode()


def threads_of(n_jobs: Any) -> int:
    """None: one thread per processor, but a single one inside a parallel worker of joblib."""
    from joblib import cpu_count, effective_n_jobs
    from joblib.parallel import get_active_backend

    if n_jobs is None:
        nested = bool(getattr(get_active_backend()[0], "nesting_level", 0))
        return 1 if nested else int(cpu_count())
    return int(effective_n_jobs(n_jobs))


def seed_of(random_state: Any) -> int:
    """A whole number is the library's seed itself; else one is drawn."""
    if isinstance(random_state, Integral) and not isinstance(random_state, bool):
        if not 0 <= int(random_state) < 2**64:
            raise ValueError(f"random_state must lie in 0..2**64 - 1; it is {random_state}")
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))


class Base(BaseEstimator):
    """Fitting and scoring; the estimators add the conventions of their kind."""

    model_: Model

    def _default_scale(self) -> str | None:
        return None

    def _config(self, notes: list[str]) -> tuple[lib.FitConfig, Any]:
        config = lib.config(lib.FitConfig, "fit")
        beta = self.beta
        if isinstance(beta, str) and beta != "auto":
            raise ValueError(f"beta must be a number above 0 or 'auto'; it is {beta!r}")
        if not isinstance(beta, str) and beta is not None and not _number("beta", beta) > 0:
            raise ValueError(f"beta must be a number above 0 or 'auto'; it is {beta!r}")
        config.beta = float("nan") if isinstance(beta, str) else _number("beta", beta)
        counts = {
            "latent_dim": "n_components",
            "steps": "steps",
            "epochs": "epochs",
            "batch_size": "batch_size",
            "ensemble": "ensemble",
            "lr_warmup": "lr_warmup",
            "patience": "patience",
        }
        numbers = {
            "learning_rate": "learning_rate",
            "validation": "validation_fraction",
            "noise_floor": "noise_floor",
            "beta_floor": "beta_floor",
            "beta_start": "beta_start",
            "kl_warmup": "kl_warmup",
            "denoise": "denoise",
            "weight_decay": "weight_decay",
        }
        texts = "loss objective arch activation scale preset noise lr_schedule init".split()
        for field, name in counts.items():
            setattr(config, field, _count(name, getattr(self, name)))
        for field, name in numbers.items():
            setattr(config, field, _number(name, getattr(self, name)))
        for name in texts:
            setattr(config, name, _text(name, getattr(self, name)))
        if config.scale is None:
            config.scale = _text("scale", self._default_scale())
        max_time = self.max_time
        config.max_seconds = 0.0 if max_time is None else _number("max_time", max_time)
        config.quick = int(bool(self.quick))
        config.no_restart = int(not self.restart)
        config.seed = seed_of(self.random_state)

        def note(user: Any, text: bytes) -> None:
            notes.append(lib.in_python(text.decode("utf-8", "replace")))

        callback = lib.NoteFn(note)
        config.note = callback
        return config, callback  # which must live as long as the call

    def _image_shape(self, n_features: int) -> tuple[int, int, int] | None:
        given = self.image_shape
        if given is None:
            return None
        shape = tuple(given)
        if len(shape) == 2:
            shape = (*shape, 1)
        if len(shape) != 3 or any(not isinstance(s, Integral) or s < 1 for s in shape):
            raise ValueError(f"image_shape must be (height, width[, channels]); it is {given!r}")
        if int(np.prod([int(s) for s in shape], dtype=object)) != n_features:
            raise ValueError(f"image_shape {given!r} has other than {n_features} values")
        return int(shape[0]), int(shape[1]), int(shape[2])

    def _names(self) -> list[str] | None:
        names = getattr(self, "feature_names_in_", None)
        return None if names is None else [str(name) for name in names]

    def _fit(self, X: Any, fit_params: dict[str, Any]) -> FloatArray:
        """Trains; returns the rows."""
        if fit_params.get("sample_weight", None) is not None:
            raise ValueError(
                f"{type(self).__name__} takes no sample weights: every row counts once. Repeat "
                "rows that should count more, or draw rows by their weights"
            )
        unknown = set(fit_params) - {"sample_weight"}
        if unknown:
            raise TypeError(f"fit() takes no argument {sorted(unknown)[0]!r}")
        X = validate_data(self, X, dtype=[np.float64, np.float32], ensure_min_samples=2)
        notes: list[str] = []
        verbose = int(self.verbose)
        threads = threads_of(self.n_jobs)
        shape = self._image_shape(X.shape[1])
        watch = Watch(verbose)
        config, _keep = self._config(notes)

        def work() -> tuple[Model, Report | None]:
            with Context(threads, watch) as context, Data(X, self._names(), shape) as data:
                model = Model.fit(context, data, config)
                if not self.report:
                    return model, None
                return model, self._make_report(model, context, data, _report_rows(len(X)))

        model, report = watch.run(work)
        for text in notes:
            watch.tell(f"isovae: {text}")
        self._take(model, report)
        self.notes_ = notes
        self.seed_ = int(config.seed)
        rows: FloatArray = X
        return rows

    def _make_report(
        self, model: Model, context: Context, data: Data, rows: str, member: int = 0
    ) -> Report:
        names = self._names() or [f"c{i + 1}" for i in range(model.features)]
        return Report(*model.report(context, data, rows, member), names)

    def _take(self, model: Model, report: Report | None) -> None:
        """The attributes that come from the model and, where there is one, from its report."""
        self.model_ = model
        self.n_components_ = model.latents
        self.n_active_ = model.active
        self.beta_ = model.beta
        self.explained_variance_ = model.variances()
        for name in ("report_", "components_", "optimality_", "explained_variance_ratio_"):
            self.__dict__.pop(name, None)
        if report is None:
            return
        self.report_ = report
        self.components_ = np.nan_to_num(report.loadings)
        self.optimality_ = report._by_index("optimality_mean")
        residual = report["distortion"]["residual"]
        held = np.where(model.active_mask, self.explained_variance_, 0.0)
        total = held.sum() + max(residual or 0.0, 0.0)
        self.explained_variance_ratio_ = held / total if total > 0 else held

    def _check_X(self, X: Any) -> FloatArray:
        check_is_fitted(self)
        out: FloatArray = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return out

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def _threads(self) -> int:
        return threads_of(self.n_jobs)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a file that the command and the C library read, too.

        Parameters
        ----------
        path : str or path
            The file (.safetensors). It is written whole or not at all.
        """
        check_is_fitted(self)
        self.model_.save(path)

    def make_report(self, X: Any, *, rows: str = "all", member: int = 0) -> Report:
        """Analyse the model on these rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of the model's features.
        rows : {"all", "auto", "train", "validation"}, default="all"
            Which of them, where they are the rows of the training.
        member : int, default=0
            Which network of an ensemble.

        Returns
        -------
        Report
        """
        X = self._check_X(X)
        watch = Watch(int(self.verbose))
        shape = self._image_shape(X.shape[1])
        threads = self._threads()

        def work() -> Report:
            with Context(threads, watch) as context, Data(X, self._names(), shape) as data:
                return self._make_report(self.model_, context, data, rows, member)

        return watch.run(work)


def _report_rows(count: int) -> str:
    """Held-out rows say what a model is worth, where there are some fifty of them."""
    return "auto" if count >= 500 else "all"
