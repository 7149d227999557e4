"""What the estimators share: their parameters on the way to the library, fitting, scoring."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from . import _library as lib
from ._model import Context, Data, Model
from ._report import Report
from ._rows import (
    FloatArray,
    Form,
    Rows,
    check_layout,
    columns_of_words,
    dimensions,
    encode_words,
    find_words,
    form_of_array,
    labels_of,
    rows_of_images,
)
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
    n_features_in_: int
    _form: Form

    def _default_scale(self, rows: Rows, form: Form) -> str | None:
        return None

    def _config(self, notes: list[str], rows: Rows, form: Form) -> tuple[lib.FitConfig, Any]:
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
            "noise_start": "noise_start",
            "beta_floor": "beta_floor",
            "beta_start": "beta_start",
            "kl_warmup": "kl_warmup",
            "denoise": "denoise",
            "weight_decay": "weight_decay",
        }
        texts = (
            "loss objective arch activation scale preset noise lr_schedule init init_from checkpoint"
        ).split()
        for field, name in counts.items():
            setattr(config, field, _count(name, getattr(self, name)))
        for field, name in numbers.items():
            setattr(config, field, _number(name, getattr(self, name)))
        for name in texts:
            setattr(config, name, _text(name, getattr(self, name)))
        if config.scale is None:
            config.scale = _text("scale", self._default_scale(rows, form))
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

    # Rows: tables, images, columns of words.

    def _numbers(self, X: Any, **checks: Any) -> FloatArray:
        """An image array, or the numeric columns of a table beside columns of words."""
        out: FloatArray = check_array(
            X,
            dtype=[np.float64, np.float32, np.uint8],
            allow_nd=True,
            ensure_min_samples=1,
            estimator=self,
            input_name="X",
            **checks,
        )
        return out

    def _first_rows(self, X: Any) -> tuple[Rows, Form]:
        """Rows for the training, and how they are; sets what scikit-learn wants to be known."""
        layout = check_layout(self.layout)
        words = [] if dimensions(X) != 2 else columns_of_words(X, self.categorical)
        if self.handle_unknown not in ("error", "warn", "ignore"):
            raise ValueError(
                f"handle_unknown must be 'error', 'warn' or 'ignore'; it is {self.handle_unknown!r}"
            )
        if words:
            if self.image_shape is not None:
                raise ValueError("rows of images have no columns of words")
            validate_data(self, X, skip_check_array=True)
            form = Form(
                columns=self._columns(), words=find_words(X, words), n_columns=self.n_features_in_
            )
            return Rows(self._encode(X, form)), form
        if dimensions(X) > 2:
            values = self._pixels(X)
            form = form_of_array(values.shape, self.image_shape, layout)
            self.__dict__.pop("feature_names_in_", None)
            self.n_features_in_ = form.n_columns
            return rows_of_images(values, form, type(self).__name__), form
        kinds: list[Any] = [np.float64, np.float32]
        if self.image_shape is not None:
            kinds.append(np.uint8)
        values = validate_data(self, X, dtype=kinds)
        form = form_of_array(values.shape, self.image_shape, layout)
        form.columns = self._columns()
        if form.image is not None:
            return rows_of_images(values, form, type(self).__name__), form
        return Rows(values), form

    def _pixels(self, X: Any) -> FloatArray:
        if getattr(X, "dtype", None) == np.bool_ and isinstance(X, np.ndarray):
            X = X.view(np.uint8)
        return self._numbers(X)

    def _encode(self, X: Any, form: Form) -> FloatArray:
        places = {word.place for word in form.words}
        others = [i for i in range(form.n_columns) if i not in places]
        numbers = None
        if others:
            part = X.iloc[:, others] if hasattr(X, "iloc") else np.asarray(X)[:, others]
            numbers = self._numbers(part)
        return encode_words(X, form, self.handle_unknown, numbers)

    def _columns(self) -> list[str] | None:
        names = getattr(self, "feature_names_in_", None)
        return None if names is None else [str(name) for name in names]

    def _rows(self, X: Any) -> Rows:
        """Rows for the fitted model, as those of the training."""
        check_is_fitted(self)
        return self._read_as(X, self._form)

    def _fit(
        self,
        X: Any,
        fit_params: dict[str, Any],
        validation_data: Any = None,
        callback: Callable[[str, float, float], Any] | None = None,
    ) -> Rows:
        """Trains; returns the rows."""
        if fit_params.get("sample_weight", None) is not None:
            raise ValueError(
                f"{type(self).__name__} takes no sample weights: every row counts once. Repeat "
                "rows that should count more, or draw rows by their weights"
            )
        unknown = set(fit_params) - {"sample_weight"}
        if unknown:
            raise TypeError(f"fit() takes no argument {sorted(unknown)[0]!r}")
        rows, form = self._first_rows(X)
        if len(rows) < 2:
            raise ValueError(
                f"Found array with {len(rows)} sample(s) (shape={rows.values.shape}) while a minimum "
                f"of 2 is required by {type(self).__name__}."
            )
        notes: list[str] = []
        threads = threads_of(self.n_jobs)
        watch = Watch(int(self.verbose), callback)
        config, _keep = self._config(notes, rows, form)
        held_out = None if validation_data is None else self._held_out(validation_data, form)

        def work() -> tuple[Model, Report | None]:
            with ExitStack() as stack:
                context = stack.enter_context(Context(threads, watch))
                data = stack.enter_context(Data(rows, form))
                if held_out is not None:
                    config.validation_data = stack.enter_context(Data(held_out, form)).handle
                model = Model.fit(context, data, config)
                if not self.report:
                    return model, None
                if held_out is not None:
                    data = stack.enter_context(Data(held_out, form))
                which = _report_rows(len(rows)) if held_out is None else "all"
                return model, Report(
                    *model.report(context, data, which), form.feature_names(model.features)
                )

        model, report = watch.run(work)
        for text in notes:
            watch.tell(f"isovae: {text}")
        self._form = form
        self._take(model, report)
        self.notes_ = notes
        self.seed_ = int(config.seed)
        return rows

    def _held_out(self, X: Any, form: Form) -> Rows:
        """The caller's rows to hold out, which must be like those of the training."""
        if isinstance(X, tuple):  # (X, y), as others have it
            X = X[0]
        return self._read_as(X, form)

    def _read_as(self, X: Any, form: Form) -> Rows:
        if form.words:
            validate_data(self, X, skip_check_array=True, reset=False)
            return Rows(self._encode(X, form))
        if form.image is None:
            return Rows(validate_data(self, X, dtype=[np.float64, np.float32], reset=False))
        if dimensions(X) > 2:
            return rows_of_images(self._pixels(X), form, type(self).__name__)
        values = validate_data(self, X, dtype=[np.float64, np.float32, np.uint8], reset=False)
        return rows_of_images(values, form, type(self).__name__)

    def _take(self, model: Model, report: Report | None) -> None:
        """The attributes that come from the model and, where there is one, from its report."""
        self.model_ = model
        self.n_components_ = model.latents
        self.n_active_ = model.active
        self.beta_ = model.beta
        self.explained_variance_ = model.variances()
        for name in (
            "report_ components_ optimality_ explained_variance_ratio_ image_shape_ categories_"
        ).split():
            self.__dict__.pop(name, None)
        if self._form.image is not None:
            self.image_shape_ = self._form.image
        if self._form.words:
            self.categories_ = {word.column: list(word.values) for word in self._form.words}
        if report is None:
            return
        self.report_ = report
        self.components_ = np.nan_to_num(report.loadings)
        self.optimality_ = report._by_index("optimality_mean")
        residual = report["distortion"]["residual"]
        held = np.where(model.active_mask, self.explained_variance_, 0.0)
        total = held.sum() + max(residual or 0.0, 0.0)
        self.explained_variance_ratio_ = held / total if total > 0 else held

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

    def make_report(
        self,
        X: Any,
        y: Any = None,
        *,
        rows: str = "all",
        member: int = 0,
        iwae: int | tuple[int, int] = (64, 1000),
        callback: Callable[[str, float, float], Any] | None = None,
    ) -> Report:
        """Analyse the model on these rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or of images
            Rows of the model's features.
        y : array-like of shape (n_samples,), optional
            What is known of the rows, classes or numbers, which training never sees: the report
            then tells how well each latent knows it (R^2; for classes eta^2 and AUROC), in its text
            and as `report["labels"]`. None and NaN: unknown.
        rows : {"all", "auto", "train", "validation"}, default="all"
            Which of them, where they are the rows of the training.
        member : int, default=0
            Which network of an ensemble.
        iwae : int or (int, int), default=(64, 1000)
            Draws and rows of the importance-weighted estimate that checks the density; 0: none.
        callback : callable, optional
            Told how far it is: callback(stage, done, total). What it raises ends the work.

        Returns
        -------
        Report
        """
        found = self._rows(X)
        labels = None if y is None else labels_of(y, len(found))
        draws = (iwae, 1000) if isinstance(iwae, (int, np.integer)) else tuple(iwae)
        if len(draws) != 2 or any(not isinstance(n, Integral) or n < 0 for n in draws):
            raise ValueError(f"iwae must be a number of draws, or (draws, rows); it is {iwae!r}")
        watch = Watch(int(self.verbose), callback)
        threads = self._threads()
        model = self.model_

        def work() -> Report:
            with Context(threads, watch) as context, Data(found, self._form) as data:
                parts = model.report(
                    context, data, rows, member, (int(draws[0]), int(draws[1])), labels
                )
                return Report(*parts, self._form.feature_names(model.features))

        return watch.run(work)

    def explain(self, X: Any) -> tuple[FloatArray, FloatArray]:
        """Why rows are improbable: what each feature and each latent costs them, in nats.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or of images

        Returns
        -------
        features : ndarray of shape (n_samples, n_features)
            In the shape of X for images; with columns of words one for each of
            `report_.feature_names`. They sum to the residual over beta.
        latents : ndarray of shape (n_samples, n_components_)
            They sum to the KL divergence.
        """
        rows = self._rows(X)
        watch = Watch(int(self.verbose))
        threads = self._threads()

        def work() -> tuple[FloatArray, FloatArray]:
            with Context(threads, watch) as context, Data(rows, self._form) as data:
                return self.model_.explain(context, data, len(rows))

        features, latents = watch.run(work)
        return self._form.restore(features), latents

    def tail_prob(self, X: Any) -> FloatArray:
        """Share of held-out rows that are less probable than each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or of images

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        rows = self._rows(X)
        return self.model_.tail_prob(self.model_.score(rows, self._threads()))


def _report_rows(count: int) -> str:
    """Held-out rows say what a model is worth, where there are some fifty of them."""
    return "auto" if count >= 500 else "all"
