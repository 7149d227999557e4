"""IsoVAE, in the convention of scikit-learn's decompositions."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted

from ._base import Base, seed_of
from ._model import Context, FloatArray, Model
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
        (height, width) or (height, width, channels) of rows that are images, channels fastest.
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
        Number of features.
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
        beta_floor: float | None = None,
        beta_start: float | None = None,
        kl_warmup: float | None = None,
        init: str | None = None,
        validation_fraction: float | None = None,
        patience: int | None = None,
        restart: bool = True,
        max_time: float | None = None,
        image_shape: tuple[int, ...] | None = None,
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
        self.beta_floor = beta_floor
        self.beta_start = beta_start
        self.kl_warmup = kl_warmup
        self.init = init
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.restart = restart
        self.max_time = max_time
        self.image_shape = image_shape
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

    def _default_scale(self) -> str | None:
        squared = self.loss is None or str(self.loss).split(":")[0] in ("sse", "student")
        return "none" if squared and self.preset is None else None

    def fit(self, X: Any, y: Any = None, **fit_params: Any) -> IsoVAE:
        """Train on the rows of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows; no missing values.
        y : ignored
            There for pipelines.
        **fit_params : dict
            None is known; sample weights are refused.

        Returns
        -------
        IsoVAE
            Itself.
        """
        self._fit(X, fit_params)
        return self

    def transform(self, X: Any) -> FloatArray:
        """Posterior means of the latents.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_components_)
            Or a data frame after `set_output`. Each latent has about unit variance.
        """
        X = self._check_X(X)
        return self.model_.encode(X, self._threads()).astype(X.dtype, copy=False)

    def transform_isometric(self, X: Any) -> FloatArray:
        """Coordinates in which distances are distances in the data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_components_)
            Or a data frame after `set_output`. Their variances are `explained_variance_` less
            the noise beta/2, as those of PCA's scores are its eigenvalues.
        """
        rows = self._check_X(X)
        y = self.model_.encode(rows, self._threads(), isometric=True)
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
        ndarray of shape (n_samples, n_features_in_)
        """
        Z = self._check_latents(Z)
        return self.model_.decode(Z, self._threads()).astype(Z.dtype, copy=False)

    def inverse_transform_isometric(self, Y: Any) -> FloatArray:
        """Rows in the data's units from isometric coordinates.

        Parameters
        ----------
        Y : array-like of shape (n_samples, n_components_)
            As `transform_isometric` gives them.

        Returns
        -------
        ndarray of shape (n_samples, n_features_in_)
        """
        Y = self._check_latents(Y)
        z = self.model_.from_isometric(Y)
        return self.model_.decode(z, self._threads()).astype(Y.dtype, copy=False)

    def score_samples(self, X: Any, estimate: str = "elbo") -> FloatArray:
        """Log density of each row, in nats; higher is more probable.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        estimate : {"elbo", "posterior", "logdet", "laplace"}, default="elbo"
            "elbo" counts the distance from the manifold and is the one for anomalies; the others
            are densities on the manifold.

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        X = self._check_X(X)
        return self.model_.score(X, self._threads(), estimate)

    def score(self, X: Any, y: Any = None) -> float:
        """Mean log density of the rows, in nats; higher is more probable.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
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
        ndarray of shape (n_samples, n_features_in_)
        """
        check_is_fitted(self)
        if n_samples < 1:
            raise ValueError(f"n_samples must be at least 1; it is {n_samples}")
        seed = seed_of(random_state)
        with Context(self._threads(), Watch()) as context:
            return self.model_.sample(context, seed, int(n_samples), noise)

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
    about = model.metadata
    self = kind(n_components=model.latents, beta=model.beta)
    self._take(model, None)
    self.n_features_in_ = model.features
    if about["features"]["named"]:
        self.feature_names_in_ = np.array(about["features"]["names"], dtype=object)
    if model.features > 0 and about["image"][0] > 0:
        self.image_shape = tuple(about["image"])
    self.notes_ = []
    return self
