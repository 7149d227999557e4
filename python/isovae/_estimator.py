"""IsoVAE, in the convention of scikit-learn's decompositions."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted

from ._base import Base, seed_of
from ._model import Context, Model
from ._rows import FloatArray, Form, Rows, form_of_file
from ._watch import Watch

try:
    from sklearn.utils._set_output import _wrap_data_with_container
except ImportError:  # private there: without it coordinates come as arrays
    _wrap_data_with_container = None


class IsoVAE(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Base):
    """A variational autoencoder that is read like a PCA.

    Latents come in the order of their variance, with loadings and the share of the variance that
    they explain; rows get coordinates and log densities. The defaults are those of the command
    `isovae fit` (docs/defaults.md), but features are not scaled, as in PCA.

    Parameters
    ----------
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
        Scaling of the features. By default "none" for "sse" and "student", what the loss needs
        for the others, and the preset's where there is one. "standard" for columns of different
        units.
    arch : str, optional
        Network: "mlp:64,64" (the default; "mlp:400" for images), "linear", "conv64", "conv-small"
        or the path of a .json that describes one (docs/architectures.md).
    activation : str, optional
        Of the hidden layers of "mlp": "silu" (the default), "tanh", "relu", "leaky_relu", "elu",
        "gelu", "softplus", "sigmoid".
    objective : {"conventional", "decomposed"}, optional
        Training objective; "conventional" by default.
    preset : {"anomaly"}, optional
        Values of many parameters under one name; what is given besides takes their place.
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
    report : bool, default=True
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
    explained_variance_ : ndarray of shape (n_components_,)
        Variance that each latent holds, descending, in the metric's squared units: beside PCA's
        eigenvalues. Latents that switched off keep the noise beta/2.
    explained_variance_ratio_ : ndarray of shape (n_components_,)
        Its share of the sum over active latents and the residual; 0 where not active.
    components_ : ndarray of shape (n_components_, n_features_in_)
        Loadings: how far one standard deviation of a latent moves each feature, in the feature's
        units, as a mean over the rows. 0 for latents that are not active.
    n_components_ : int
        Number of latents.
    n_active_ : int
        Latents that carry information.
    optimality_ : ndarray of shape (n_components_,)
        1 where a latent is at the optimum that theory predicts; NaN where not active.
    beta_ : float
        The beta that was found or given.
    report_ : Report
        The analysis: of the held-out rows where there are 500 rows or more, else of all.
    notes_ : list of str
        Remarks of the training: restarts, all latents active.
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
    IsoVAEDetector : The same as an outlier detector.

    Notes
    -----
    Computation is in single precision; results are double precision arrays, or single precision
    ones for single precision X. The same rows, parameters and seed give the same bytes for any
    number of threads.

    Examples
    --------
    >>> import numpy as np
    >>> from isovae import IsoVAE
    >>> rng = np.random.default_rng(0)
    >>> t = rng.uniform(-2, 2, 500)
    >>> X = np.c_[t, t**2, rng.normal(size=500)]
    >>> model = IsoVAE(n_components=2, random_state=0).fit(X)
    >>> model.n_active_
    2
    >>> model.transform(X).shape
    (500, 2)
    """

    def __init__(
        self,
        n_components: int | None = None,
        *,
        beta: float | str = "auto",
        loss: str | None = None,
        noise: str | None = None,
        scale: str | None = None,
        arch: str | None = None,
        activation: str | None = None,
        objective: str | None = None,
        preset: str | None = None,
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
        report: bool = True,
        random_state: int | np.random.RandomState | None = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
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

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return self.n_components_

    def _default_scale(self, rows: Rows, form: Form) -> str | None:
        squared = self.loss is None or str(self.loss).split(":")[0] in ("sse", "student")
        if not squared or self.preset is not None:
            return None
        values = rows.values  # images of bytes, or of numbers from 0 to 1: as the command has them
        if form.image is not None and (
            values.dtype == np.uint8 or (values.min() >= 0 and values.max() <= 1)
        ):
            return None
        return "none"

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        validation_data: Any = None,
        callback: Callable[[str, float, float], Any] | None = None,
        **fit_params: Any,
    ) -> IsoVAE:
        """Train on the rows of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or images
            Training rows; no missing values. Images as (n, height, width), (n, height, width,
            channels) or (n, channels, height, width).
        y : ignored
            There for pipelines.
        validation_data : array-like, optional
            Rows to hold out, instead of a share of X; the report is about them.
        callback : callable, optional
            Told how far it is: callback(stage, done, total). What it raises ends the training.
        **fit_params : dict
            None is known; sample weights are refused.

        Returns
        -------
        IsoVAE
            Itself.
        """
        self._fit(X, fit_params, validation_data, callback)
        return self

    def transform(self, X: Any) -> FloatArray:
        """Posterior means of the latents.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or of images

        Returns
        -------
        ndarray of shape (n_samples, n_components_)
            Or a data frame after `set_output`. Each latent has about unit variance.
        """
        rows = self._rows(X)
        return self.model_.encode(rows, self._threads()).astype(rows.dtype, copy=False)

    def posterior_std(self, X: Any) -> FloatArray:
        """Standard deviations of the posterior, whose means `transform` gives.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or of images

        Returns
        -------
        ndarray of shape (n_samples, n_components_)
            Near 1 where a row tells nothing of a latent.
        """
        rows = self._rows(X)
        return self.model_.encode(rows, self._threads(), "sigma").astype(rows.dtype, copy=False)

    def transform_isometric(self, X: Any) -> FloatArray:
        """Coordinates in which distances are distances in the data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or of images

        Returns
        -------
        ndarray of shape (n_samples, n_components_)
            Or a data frame after `set_output`. Their variances are `explained_variance_` less
            the noise beta/2, as those of PCA's scores are its eigenvalues.
        """
        rows = self._rows(X)
        y = self.model_.encode(rows, self._threads(), "y")
        y = y.astype(rows.dtype, copy=False)
        if _wrap_data_with_container is None:
            return y
        out: FloatArray = _wrap_data_with_container("transform", y, X, self)
        return out

    def _check_latents(self, Z: Any) -> FloatArray:
        check_is_fitted(self)
        Z = check_array(Z, dtype=[np.float64, np.float32], input_name="Z")
        if Z.shape[1] != self.n_components_:
            raise ValueError(
                f"Z has {Z.shape[1]} columns, but {type(self).__name__} has "
                f"{self.n_components_} latents"
            )
        out: FloatArray = Z
        return out

    def inverse_transform(self, Z: Any) -> FloatArray:
        """Rows in the data's units from values of the latents.

        Parameters
        ----------
        Z : array-like of shape (n_samples, n_components_)
            As `transform` gives them.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            Images in the shape of those of `fit`; with columns of words one column for each of
            `report_.feature_names`, COLUMN=VALUE near 1 where the row has that value.
        """
        Z = self._check_latents(Z)
        return self._decode(Z, Z.dtype)

    def _decode(self, z: FloatArray, dtype: Any) -> FloatArray:
        rows = self.model_.decode(z, self._threads()).astype(dtype, copy=False)
        return self._form.restore(rows)

    def inverse_transform_isometric(self, Y: Any) -> FloatArray:
        """Rows in the data's units from isometric coordinates.

        Parameters
        ----------
        Y : array-like of shape (n_samples, n_components_)
            As `transform_isometric` gives them.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            Images in the shape of those of `fit`; with columns of words one column for each of
            `report_.feature_names`, COLUMN=VALUE near 1 where the row has that value.
        """
        Y = self._check_latents(Y)
        return self._decode(self.model_.from_isometric(Y), Y.dtype)

    def score_samples(self, X: Any, estimate: str = "elbo") -> FloatArray:
        """Log density of each row, in nats; higher is more probable.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or of images
        estimate : {"elbo", "posterior", "logdet", "laplace"}, default="elbo"
            "elbo" counts the distance from the manifold and is the one for anomalies; the others
            are densities on the manifold.

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        rows = self._rows(X)
        return self.model_.score(rows, self._threads(), estimate)

    def score(self, X: Any, y: Any = None) -> float:
        """Mean log density of the rows, in nats; higher is more probable.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or of images
        y : ignored

        Returns
        -------
        float
        """
        return float(np.mean(self.score_samples(X)))

    def sample(
        self,
        n_samples: int = 1,
        *,
        noise: bool = True,
        random_state: int | np.random.RandomState | None = None,
    ) -> FloatArray:
        """Draw rows from the model.

        Parameters
        ----------
        n_samples : int, default=1
        noise : bool, default=True
            Add the decoder's noise, so that rows are like the data; False: rows on the manifold.
            "weighted" and "ssim" have no noise that could be drawn.
        random_state : int, RandomState instance or None, default=None
            A whole number is the seed itself, as of `isovae sample`.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            Images in the shape of those of `fit`; with columns of words one column for each of
            `report_.feature_names`, COLUMN=VALUE near 1 where the row has that value.
        """
        check_is_fitted(self)
        if n_samples < 1:
            raise ValueError(f"n_samples must be at least 1; it is {n_samples}")
        seed = seed_of(random_state)
        with Context(self._threads(), Watch()) as context:
            rows = self.model_.sample(context, seed, int(n_samples), noise)
        return self._form.restore(rows)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> IsoVAE:
        """Read a model that `save`, the command or the C library wrote.

        What the report of the training said is not in the file: `report_`, `components_`,
        `optimality_` and `explained_variance_ratio_` are missing; `make_report` analyses any rows.

        Parameters
        ----------
        path : str or path

        Returns
        -------
        IsoVAE
        """
        self: IsoVAE = adopt(cls, Model.load(path))
        return self


def adopt(kind: Any, model: Model) -> Any:
    """A fitted estimator around a model that was trained elsewhere."""
    self = kind(n_components=model.latents, beta=model.beta)
    self._form = form_of_file(model.metadata, model.features)
    self._take(model, None)
    self.n_features_in_ = self._form.n_columns
    if self._form.columns:
        self.feature_names_in_ = np.array(self._form.columns, dtype=object)
    self.image_shape = self._form.image
    self.notes_ = []
    return self
