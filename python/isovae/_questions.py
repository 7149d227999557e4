"""What one asks of many trainings, of two data sets, of a model: sweep, stability, drift, prune."""

from __future__ import annotations

import copy
import html
import json
import os
from collections.abc import Callable
from ctypes import byref, c_void_p
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from . import _library as lib
from ._base import Base, _count, _number, _text, threads_of
from ._detector import IsoVAEDetector
from ._estimator import IsoVAE
from ._model import Context, Data, Model, take_forms
from ._report import Told, _axes
from ._rows import Form, Rows
from ._watch import Watch

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

Callback = Callable[[str, float, float], Any]


class Answer(Told):
    """What a question came to; printed, it is what the command shows.

    Attributes
    ----------
    text : str
        For a terminal of 80 columns.
    """

    _table = ""  # the part of the content that to_frame shows

    def __init__(self, handle: c_void_p, page: bool) -> None:
        wanted = (lib.TEXT, lib.JSON, lib.HTML)[: 3 if page else 2]
        try:
            forms = take_forms("isovae_answer_write", handle, wanted)
        finally:
            lib.library.isovae_answer_free(handle)
        super().__init__(forms[0], json.loads(forms[1]), forms[2] if page else None)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(self.text)}</pre>"

    def to_dict(self) -> dict[str, Any]:
        """The answer as plain Python objects: the JSON that the command writes.

        Returns
        -------
        dict
        """
        return super().to_dict()

    def to_frame(self) -> pandas.DataFrame:
        """The table of the answer, as a pandas DataFrame.

        Returns
        -------
        pandas.DataFrame
        """
        import pandas

        return pandas.json_normalize(self._content[self._table])


class _PagedAnswer(Answer):
    def to_html(self, path: str | os.PathLike[str] | None = None) -> str | None:
        """The answer as one self-contained page with charts.

        Parameters
        ----------
        path : str or path, optional
            The file to write. Without it the page is returned.

        Returns
        -------
        str or None
        """
        return self._put_page(path)


class Sweep(_PagedAnswer):
    """Which beta, how many latents: made by `sweep`.

    Attributes
    ----------
    text : str
        For a terminal of 80 columns.
    found_ : bool
        Whether the curve reaches the target.
    reached_ : bool or None
        Whether the cold training does; None without one.
    beta_ : float
        The answer; NaN where none was found.
    n_active_ : int
        Active latents at it; 0 where none was found.
    estimator_ : estimator or None
        Trained from a cold start at that beta.
    """

    _table = "curve"

    def __init__(self, handle: c_void_p, estimator: Any) -> None:
        super().__init__(handle, True)
        answer = self["answer"]
        self.found_ = bool(answer["found"])
        self.reached_: bool | None = answer["reached"]
        self.beta_ = float("nan") if answer["beta"] is None else float(answer["beta"])
        self.n_active_ = int(answer["active"] or 0)
        self.estimator_ = estimator

    def plot_curve(self, ax: Axes | None = None) -> Axes:
        """Distortion over rate, beside the optimum of a linear model.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib Axes
        """
        ax = _axes(ax)
        curve = self["curve"]
        for key, label in (("training", "training rows"), ("validation", "held-out rows")):
            if all(point[key] for point in curve):
                rate = [point[key]["curve_rate_nats"] for point in curve]
                ax.plot(
                    rate, [point[key]["curve_distortion"] for point in curve], "o-", label=label
                )
        if all(point["linear"] for point in curve):
            rate = [point["linear"]["rate_nats"] for point in curve]
            ax.plot(rate, [point["linear"]["distortion"] for point in curve], ":", label="PCA")
        ax.set_xlabel("rate (nats a row)")
        ax.set_ylabel(f"distortion ({self['unit']})")
        ax.legend(frameon=False)
        return ax


class Stability(_PagedAnswer):
    """Which latents are found again by other seeds: made by `stability`.

    Attributes
    ----------
    text : str
        For a terminal of 80 columns.
    summary_ : str
        The line to quote.
    estimator_ : estimator
        The run that agrees best with the others.
    """

    _table = "units"

    def __init__(self, handle: c_void_p, estimator: Any) -> None:
        super().__init__(handle, True)
        self.summary_ = str(self["summary"])
        self.estimator_ = estimator


class Drift(Answer):
    """Whether rows are unlike those of the reference: made by `drift`.

    Attributes
    ----------
    text : str
        For a terminal of 80 columns.
    found_ : bool
        Whether anything has changed.
    """

    def __init__(self, handle: c_void_p) -> None:
        super().__init__(handle, False)
        self.found_ = bool(self["found"])

    def to_frame(self) -> pandas.DataFrame:
        """One row for each test: latents, residual, score, features.

        Returns
        -------
        pandas.DataFrame
        """
        import pandas

        return pandas.json_normalize(self["model"] + self["features"])


def _prepare(X: Any, estimator: Any) -> tuple[Base, Rows, Form]:
    estimator = IsoVAE() if estimator is None else clone(estimator)
    if not isinstance(estimator, Base):
        raise TypeError(
            f"estimator must be an IsoVAE or IsoVAEDetector; it is a {type(estimator).__name__}"
        )
    rows, form = estimator._first_rows(X)
    return estimator, rows, form


def _adopt(estimator: Base, model: Model, rows: Rows, form: Form) -> Base:
    """The estimator, fitted: with a model that was trained from its parameters."""
    estimator._form = form
    estimator._take(model, None)
    estimator.notes_ = []
    estimator.seed_ = int(model.metadata["training"]["seed"])
    if isinstance(estimator, IsoVAEDetector):
        estimator._find_offset(rows)
    return estimator


def _ask(
    name: str,
    config: Any,
    estimator: Base,
    rows: Rows,
    form: Form,
    callback: Callback | None,
) -> tuple[c_void_p, Model | None]:
    watch = Watch(int(estimator.verbose), callback)
    threads = threads_of(estimator.n_jobs)
    notes: list[str] = []
    fit, _keep = estimator._config(notes, rows, form)

    def work() -> tuple[c_void_p, Model | None]:
        answer, model = c_void_p(), c_void_p()
        with Context(threads, watch) as context, Data(rows, form) as data:
            lib.call(
                name,
                context.handle,
                data.handle,
                byref(fit),
                byref(config),
                byref(answer),
                byref(model),
            )
        return answer, Model(model) if model else None

    return watch.run(work)


def sweep(
    X: Any,
    estimator: Any = None,
    *,
    target: str | None = None,
    points: int | None = None,
    steps: int | None = None,
    seeds: int | None = None,
    beta_range: tuple[float, float] | None = None,
    retrain: bool = True,
    state: str | os.PathLike[str] | None = None,
    callback: Callback | None = None,
) -> Sweep:
    """Which beta, and how many latents: the command `isovae sweep` (docs/sweep.md).

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features), or images
        Training rows.
    estimator : IsoVAE or IsoVAEDetector, optional
        An unfitted one with the parameters of the trainings; its beta, steps and epochs are not
        looked at. The default one where None.
    target : str, optional
        "psnr=DB" (images), "rmse=X", "r2=X", "rate=NATS" or "active=N": the largest beta that
        reaches it. By default the calibrated rule: beta/2 is the residual variance per feature.
    points : int, optional
        Betas, 16 by default.
    steps : int, optional
        Of a training, two for each beta; by default a twelfth of those of `fit`.
    seeds : int, optional
        Sweeps from other starts, 1 by default; more give error bars.
    beta_range : (float, float), optional
        The largest and the smallest beta; from the PCA spectrum by default.
    retrain : bool, default=True
        Train the chosen beta again, from a cold start.
    state : str or path, optional
        A file for what is finished when the sweep is interrupted; where it is there already the
        sweep goes on from it. Removed at the end.
    callback : callable, optional
        Told how far it is: callback(stage, done, total). What it raises ends the work.

    Returns
    -------
    Sweep
        That a target is not reached is no error: `found_` and `reached_` say it.

    Examples
    --------
    >>> import numpy as np
    >>> from isovae import IsoVAE, sweep
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 2)) @ rng.normal(size=(2, 6)) + rng.normal(size=(500, 6)) / 10
    >>> result = sweep(X, IsoVAE(4, random_state=0), target="active=2", points=6, steps=100,
    ...                retrain=False)
    >>> result.n_active_
    2
    """
    estimator, rows, form = _prepare(X, estimator)
    estimator.set_params(steps=None, epochs=None)
    config = lib.config(lib.SweepConfig, "sweep")
    config.target = _text("target", target)
    config.points = _count("points", points)
    config.steps = _count("steps", steps)
    config.seeds = _count("seeds", seeds)
    config.no_retrain = int(not retrain)
    config.state = _text("state", state)
    if beta_range is not None:
        if len(beta_range) != 2:
            raise ValueError(f"beta_range must be (largest, smallest); it is {beta_range!r}")
        config.beta_from, config.beta_to = (_number("beta_range", each) for each in beta_range)
    answer, model = _ask("isovae_sweep", config, estimator, rows, form, callback)
    trained = (
        None if model is None else _adopt(estimator.set_params(beta=model.beta), model, rows, form)
    )
    return Sweep(answer, trained)


def stability(
    X: Any,
    estimator: Any = None,
    *,
    runs: int = 10,
    match: float = 0.9,
    same_split: bool = False,
    folder: str | os.PathLike[str] | None = None,
    callback: Callback | None = None,
) -> Stability:
    """Are these latents real: the command `isovae stability` (docs/stability.md).

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features), or images
        Training rows.
    estimator : IsoVAE or IsoVAEDetector, optional
        An unfitted one with the parameters of the trainings; the default one where None.
    runs : int, default=10
        Trainings; their seeds count up from that of the estimator.
    match : float, default=0.9
        A latent is found in a run that has one whose absolute correlation with it is this or more.
    same_split : bool, default=False
        All runs hold out the same rows, those of the first; latents are then compared on them.
    folder : str or path, optional
        Keep the models of all runs in this folder, made where absent; those that are there are not
        made again.
    callback : callable, optional
        Told how far it is: callback(stage, done, total). What it raises ends the work.

    Returns
    -------
    Stability
    """
    estimator, rows, form = _prepare(X, estimator)
    estimator.set_params(checkpoint=None, init_from=None)
    config = lib.config(lib.StabilityConfig, "stability")
    config.runs = _count("runs", runs)
    config.match = _number("match", match)
    config.same_split = int(bool(same_split))
    config.folder = _text("folder", folder)
    if folder is not None:
        os.makedirs(folder, exist_ok=True)
    answer, model = _ask("isovae_stability", config, estimator, rows, form, callback)
    assert model is not None
    return Stability(answer, _adopt(estimator, model, rows, form))


def drift(
    estimator: Any,
    reference: Any,
    new: Any,
    *,
    alpha: float = 0.05,
    callback: Callback | None = None,
) -> Drift:
    """Whether rows have changed, as a model sees them: the command `isovae drift` (docs/drift.md).

    Parameters
    ----------
    estimator : IsoVAE or IsoVAEDetector
        A fitted one.
    reference : array-like of shape (n_samples, n_features), or images
        Rows as they should be; where they are those of the training, the held-out ones are looked
        at.
    new : array-like of shape (n_samples, n_features), or images
        Rows that may be unlike them.
    alpha : float, default=0.05
        The chance of an alarm where nothing has changed, over all tests together.
    callback : callable, optional
        Told how far it is: callback(stage, done, total). What it raises ends the work.

    Returns
    -------
    Drift
    """
    check_is_fitted(estimator)
    form = estimator._form
    sides = [estimator._rows(X) for X in (reference, new)]
    level = _number("alpha", alpha)
    watch = Watch(int(estimator.verbose), callback)
    threads = threads_of(estimator.n_jobs)

    def work() -> c_void_p:
        answer = c_void_p()
        before, after = (Data(side, form) for side in sides)
        with Context(threads, watch) as context, before, after:
            lib.call(
                "isovae_drift",
                context.handle,
                estimator.model_._handle,
                before.handle,
                after.handle,
                level,
                byref(answer),
            )
        return answer

    return Drift(watch.run(work))


def prune(estimator: Any, X: Any = None) -> Any:
    """The estimator without its collapsed latents: the command `isovae prune`.

    Parameters
    ----------
    estimator : IsoVAE or IsoVAEDetector
        A fitted one; it stays as it is.
    X : array-like of shape (n_samples, n_features) or of images, optional
        Rows over which the mean of each dropped latent is taken, and the change measured; without
        them the mean is what training stored.

    Returns
    -------
    estimator
        A fitted one of the same kind, with `n_active_` latents and the attribute `pruned_`: a dict
        with `latents`, `kept`, `parameters`, `kept_parameters` and, with X, `rows`, `change_rms`,
        `change_most` and `output_sd` in data units. What a report said is not in it.

    Examples
    --------
    >>> import numpy as np
    >>> from isovae import IsoVAE, prune
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 2)) @ rng.normal(size=(2, 6)) + rng.normal(size=(500, 6)) / 10
    >>> small = prune(IsoVAE(4, steps=1000, random_state=0, report=False).fit(X), X)
    >>> small.transform(X).shape, small.pruned_["latents"]
    ((500, 2), 4)
    """
    check_is_fitted(estimator)
    whole: Model = estimator.model_
    rows = None if X is None else estimator._rows(X)
    watch = Watch(int(estimator.verbose))
    threads = threads_of(estimator.n_jobs)

    def work() -> tuple[Model, lib.Pruned]:
        with Context(threads, watch) as context:
            if rows is None:
                return whole.prune(context, None)
            with Data(rows, estimator._form) as data:
                return whole.prune(context, data)

    model, about = watch.run(work)
    out = copy.copy(estimator)
    out._take(model, None)
    names = [field[0] for field in lib.Pruned._fields_]
    told = {name: getattr(about, name) for name in names}
    out.pruned_ = {name: value for name, value in told.items() if not np.isnan(value)}
    return out


def export_onnx(estimator: Any, folder: str | os.PathLike[str]) -> dict[str, str]:
    """Write the model as ONNX files: the command `isovae export` (docs/export.md).

    Parameters
    ----------
    estimator : IsoVAE or IsoVAEDetector
        A fitted one.
    folder : str or path
        Made where absent.

    Returns
    -------
    dict
        The paths of "encoder", "decoder" and "scorer". Where the scorer's network cannot be
        written (a warning says why) there is no "scorer"; of an ensemble encoder and decoder are
        those of its first network.
    """
    import warnings

    check_is_fitted(estimator)
    reason = estimator.model_.export_onnx(folder)
    place = os.fspath(folder)
    first = os.path.join(place, "member0") if estimator.model_.members > 1 else place
    out = {name: os.path.join(first, f"{name}.onnx") for name in ("encoder", "decoder")}
    if reason is None:
        out["scorer"] = os.path.join(place, "scorer.onnx")
    else:
        warnings.warn(f"no scorer.onnx: {reason}", UserWarning, stacklevel=2)
    return out
