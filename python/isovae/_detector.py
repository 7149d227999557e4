"""Outlier detectors, in the conventions of scikit-learn and of PyOD."""

from __future__ import annotations

import os
from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.utils.validation import check_is_fitted

from ._base import Base
from ._estimator import adopt
from ._model import Model
from ._rows import FloatArray, Rows


class IsoVAEDetector(OutlierMixin, Base):
    """Outliers as improbable rows, in scikit-learn's convention: lower is more abnormal.

    By default it trains with the preset "anomaly": three networks with heavy-tailed noise learned
    for each feature. Rows are scored by their log density under all three.

    Parameters
    ----------
    contamination : float or "auto", default="auto"
        Share of outliers in the training rows, above 0 and at most 0.5: that share of them is
        labelled. "auto": the threshold that flags 1 % of rows like the training's, by rows that
        were held out.
    preset : {"anomaly"} or None, default="anomaly"
        Values of many parameters under one name; what is given besides takes their place.
    n_components : int, optional
        Number of latents, an upper limit: those not needed switch off. By default 10 (32 for
        images), and at most n_features - 1.
    beta : float or "auto", default="auto"
        Weight of the KL term in D + beta KL, D summed over features. For "sse" beta/2 is the
        decoder's noise variance, and "auto" lets it follow the residual; 1 for "bce", "student"
        and learned noise; needed for "ssim".
    loss : str, optional
        "sse" (the default), "bce", "weighted:...", "ssim" or "student".
    noise : {"common", "feature"}, optional
        Noise of the decoder for "sse": common to all features (the default), or learned for each.
    scale : {"none", "standard", "minmax", "unit", "identity", "mixed"}, optional
        Scaling of the features; the preset's by default, "standard" without one.
    arch : str, optional
        Network: "mlp:64,64" (the default; "mlp:400" for images), "linear", "conv64", "conv-small"
        or the path of a .json that describes one (docs/architectures.md).
    activation : str, optional
        Of the hidden layers of "mlp": "silu" (the default), "tanh", "relu", "leaky_relu", "elu",
        "gelu", "softplus", "sigmoid".
    objective : {"conventional", "decomposed"}, optional
        Training objective; "conventional" by default.
    ensemble : int, optional
        Networks in one model, 1 by default. Scores are means over them, all else is about the
        first.
    steps, epochs : int, optional
        Length of the training, one of them; by default the longer of 12,000 steps and 20 epochs.
    quick : bool, default=False
        A first look: the longer of 2,000 steps and 4 epochs.
    batch_size : int, optional
        Rows per step; 400 for small networks by default.
    learning_rate : float, optional
        Of Adam; 0.01 for small networks by default.
    lr_schedule : {"cosine", "step", "constant", "linear"}, optional
        How the rate falls; "cosine" by default.
    lr_warmup : int, optional
        Steps over which the rate grows to its value.
    weight_decay : float, optional
        Decoupled weight decay, 0 by default.
    denoise : float, optional
        Standard deviation of noise on the encoder's input while training, in scaled units.
    noise_floor : float, optional
        Least learned noise, as a share of the mean feature variance.
    noise_start : float, optional
        Learned noise: where its variance starts, as a share of the mean feature variance; by
        default below the variances that must survive.
    beta_floor : float, optional
        With beta "auto": least beta/2, as a share of the mean feature variance; 0.005 by default.
    beta_start : float, optional
        Beta at the first step, from which it is annealed; from the PCA spectrum by default.
    kl_warmup : float, optional
        Share of the steps over which the KL term grows from nothing.
    init : {"default", "multimodal"}, optional
        Starting weights; "multimodal" for data with separate modes.
    validation_fraction : float, optional
        Share of the rows held out, 0.1 by default; the weights that validate best are kept.
    patience : int, optional
        With a "constant" or "step" rate: stop after so many validations without gain.
    restart : bool, default=True
        Start again, twice at most, where a run has folded.
    max_time : float, optional
        Train no longer than so many seconds; the schedule is fitted to the time.
    image_shape : tuple, optional
        (height, width) or (height, width, channels) of images that come as flat rows, channels
        fastest. Arrays of 3 or 4 axes are images without it.
    layout : {"NHWC", "NCHW"}, optional
        Which axis of images counts channels. By default the last where it has 1, 3 or 4 places,
        else the second where it has 1 or 3.
    categorical : "auto", None or list, default="auto"
        Columns of words: each becomes one feature for each of its values, COLUMN=VALUE, 1 or 0.
        "auto": those columns of a data frame that are not numbers (category, string, object); else
        their names or places. The model keeps the values.
    handle_unknown : {"error", "warn", "ignore"}, default="error"
        What a word is that the training has not seen: an error, or zeros (as the command has it)
        with a warning or without.
    init_from : str or path, optional
        A model file whose weights are the start.
    checkpoint : str or path, optional
        A file that is written now and then and when the training is interrupted. Where it is there
        already the training goes on from it, to the same result; removed at the end.
    report : bool, default=False
        Analyse the model after training: `report_`, `components_`, `optimality_` and
        `explained_variance_ratio_` come from that.
    random_state : int, RandomState instance or None, default=None
        A whole number is the seed itself, as `--seed` of the command: equal seeds give equal
        bytes.
    n_jobs : int, optional
        Threads; one per processor by default (one in a worker of joblib). The result does not
        depend on their number.
    verbose : int, default=0
        Show progress and remarks on standard error.

    Attributes
    ----------
    offset_ : float
        `decision_function` is `score_samples` less this: rows below it are outliers.
    explained_variance_ : ndarray of shape (n_components_,)
        As of `IsoVAE`, of the first network; so are the attributes that `report` adds.
    n_components_ : int
        Number of latents.
    n_active_ : int
        Latents that carry information.
    beta_ : float
        The beta that was found or given.
    notes_ : list of str
        Remarks of the training.
    n_features_in_ : int
        Number of features: columns, or values of an image.
    image_shape_ : tuple
        Height, width and channels, where rows are images; loadings have this order.
    categories_ : dict
        The values of each column of words, where there are some.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X had names that are all texts.
    seed_ : int
        The seed that was used.

    See Also
    --------
    IsoVAEPyOD : The same in PyOD's convention.

    Examples
    --------
    >>> import numpy as np
    >>> from isovae import IsoVAEDetector
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 1)) * [1, 2, 3] + rng.normal(size=(300, 3)) / 10
    >>> detector = IsoVAEDetector(random_state=0).fit(X)
    >>> detector.predict([[0, 0, 0], [1, -2, 3]])
    array([ 1, -1])
    """

    offset_: float

    def __init__(
        self,
        contamination: float | str = "auto",
        *,
        preset: str | None = "anomaly",
        n_components: int | None = None,
        beta: float | str = "auto",
        loss: str | None = None,
        noise: str | None = None,
        scale: str | None = None,
        arch: str | None = None,
        activation: str | None = None,
        objective: str | None = None,
        ensemble: int | None = None,
        steps: int | None = None,
        epochs: int | None = None,
        quick: bool = False,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        lr_schedule: str | None = None,
        lr_warmup: int | None = None,
        weight_decay: float | None = None,
        denoise: float | None = None,
        noise_floor: float | None = None,
        noise_start: float | None = None,
        beta_floor: float | None = None,
        beta_start: float | None = None,
        kl_warmup: float | None = None,
        init: str | None = None,
        validation_fraction: float | None = None,
        patience: int | None = None,
        restart: bool = True,
        max_time: float | None = None,
        image_shape: tuple[int, ...] | None = None,
        layout: str | None = None,
        categorical: str | list[Any] | None = "auto",
        handle_unknown: str = "error",
        init_from: str | os.PathLike[str] | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        report: bool = False,
        random_state: int | np.random.RandomState | None = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.contamination = contamination
        self.n_components = n_components
        self.beta = beta
        self.loss = loss
        self.noise = noise
        self.scale = scale
        self.arch = arch
        self.activation = activation
        self.objective = objective
        self.preset = preset
        self.ensemble = ensemble
        self.steps = steps
        self.epochs = epochs
        self.quick = quick
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.lr_schedule = lr_schedule
        self.lr_warmup = lr_warmup
        self.weight_decay = weight_decay
        self.denoise = denoise
        self.noise_floor = noise_floor
        self.noise_start = noise_start
        self.beta_floor = beta_floor
        self.beta_start = beta_start
        self.kl_warmup = kl_warmup
        self.init = init
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.restart = restart
        self.max_time = max_time
        self.image_shape = image_shape
        self.layout = layout
        self.categorical = categorical
        self.handle_unknown = handle_unknown
        self.init_from = init_from
        self.checkpoint = checkpoint
        self.report = report
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        validation_data: Any = None,
        callback: Callable[[str, float, float], Any] | None = None,
        **fit_params: Any,
    ) -> IsoVAEDetector:
        """Train on the rows of X and find the threshold.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or images
            Training rows; no missing values.
        y : ignored
            There for pipelines.
        validation_data : array-like, optional
            Rows to hold out, instead of a share of X (with ensemble=1).
        callback : callable, optional
            Told how far it is: callback(stage, done, total). What it raises ends the training.
        **fit_params : dict
            None is known; sample weights are refused.

        Returns
        -------
        IsoVAEDetector
            Itself.
        """
        share = self.contamination
        if share != "auto" and not (isinstance(share, Real) and 0 < float(share) <= 0.5):
            raise ValueError(
                f"contamination must be 'auto' or a number above 0 and at most 0.5; it is {share!r}"
            )
        rows = self._fit(X, fit_params, validation_data, callback)
        self._find_offset(rows)
        return self

    def _find_offset(self, rows: Rows) -> None:
        share = self.contamination
        if share == "auto":
            self.offset_ = self.model_.quantile(0.01)
        else:
            scores = self.model_.score(rows, self._threads())
            self.offset_ = float(np.percentile(scores, 100 * float(share)))

    def score_samples(self, X: Any) -> FloatArray:
        """Log density of each row, in nats; higher is more normal.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        rows = self._rows(X)
        return self.model_.score(rows, self._threads())

    def decision_function(self, X: Any) -> FloatArray:
        """`score_samples` less `offset_`: negative for outliers.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        scores = self.score_samples(X)
        return scores - self.offset_

    def predict(self, X: Any) -> FloatArray:
        """1 for inliers, -1 for outliers.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> IsoVAEDetector:
        """Read a model that `save`, the command or the C library wrote.

        The threshold is that of contamination "auto".

        Parameters
        ----------
        path : str or path

        Returns
        -------
        IsoVAEDetector
        """
        self: IsoVAEDetector = adopt(cls, Model.load(path))
        self.offset_ = self.model_.quantile(0.01)
        return self


class IsoVAEPyOD(BaseEstimator):
    """Outliers in PyOD's convention: higher is more abnormal, labels are 0 and 1.

    A thin shell around `IsoVAEDetector`, whose methods of the same names have the other sign. It
    does not need PyOD.

    Parameters
    ----------
    contamination : float, default=0.1
        Share of outliers in the training rows, above 0 and at most 0.5.
    detector : IsoVAEDetector, optional
        An unfitted one, with the parameters of the training; the default one where None.

    Attributes
    ----------
    decision_scores_ : ndarray of shape (n_samples,)
        Of the training rows: minus their log density in nats.
    threshold_ : float
        Rows with a score above it are outliers.
    labels_ : ndarray of shape (n_samples,)
        Of the training rows: 0 for inliers, 1 for outliers.
    detector_ : IsoVAEDetector
        The fitted one.

    Examples
    --------
    >>> import numpy as np
    >>> from isovae import IsoVAEDetector, IsoVAEPyOD
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 1)) * [1, 2, 3] + rng.normal(size=(300, 3)) / 10
    >>> clf = IsoVAEPyOD(contamination=0.05, detector=IsoVAEDetector(random_state=0)).fit(X)
    >>> int(clf.labels_.sum())
    15
    >>> clf.predict([[0, 0, 0], [1, -2, 3]])
    array([0, 1])
    """

    detector_: IsoVAEDetector
    threshold_: float
    decision_scores_: FloatArray
    labels_: FloatArray

    def __init__(self, contamination: float = 0.1, detector: IsoVAEDetector | None = None) -> None:
        self.contamination = contamination
        self.detector = detector

    def fit(self, X: Any, y: Any = None) -> IsoVAEPyOD:
        """Train on the rows of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored

        Returns
        -------
        IsoVAEPyOD
            Itself.
        """
        detector = IsoVAEDetector() if self.detector is None else clone(self.detector)
        if not isinstance(self.contamination, Real):  # "auto" is scikit-learn's
            raise ValueError("contamination must be a number above 0 and at most 0.5")
        detector.set_params(contamination=self.contamination)
        self.detector_ = detector.fit(X)
        self.n_features_in_ = self.detector_.n_features_in_
        self.decision_scores_ = self.decision_function(X)
        self.threshold_ = -self.detector_.offset_
        self.labels_ = (self.decision_scores_ > self.threshold_).astype(int)
        return self

    def decision_function(self, X: Any) -> FloatArray:
        """Minus the log density of each row, in nats: higher is more abnormal.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        check_is_fitted(self, "detector_")
        return -self.detector_.score_samples(X)

    def predict(self, X: Any) -> FloatArray:
        """0 for inliers, 1 for outliers.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        scores = self.decision_function(X)
        return (scores > self.threshold_).astype(int)

    def predict_proba(self, X: Any) -> FloatArray:
        """Chance of inlier and outlier, by the share of held-out rows that are less probable.

        The chance of an outlier is one less that share (`tail_prob`): a rank, not a calibrated
        probability.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, 2)
        """
        check_is_fitted(self, "detector_")
        inlier = self.detector_.tail_prob(X)
        return np.column_stack([inlier, 1 - inlier])

    def fit_predict(self, X: Any, y: Any = None) -> FloatArray:
        """`fit`, then the labels of the training rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        return self.fit(X).labels_
