"""Audits of a VAE that was trained elsewhere: live networks and ONNX files."""

from __future__ import annotations

import ctypes
import inspect
import os
import tempfile
from collections.abc import Callable, Sequence
from ctypes import byref, c_char_p, c_void_p
from pathlib import Path
from typing import Any

import numpy as np

from . import _library as lib
from . import _rows
from ._base import _number, _text, seed_of, threads_of
from ._live import Networks, NoDerivatives, Torch, choose, make_backend
from ._model import Context, Data, FloatArray, read_report
from ._report import Report
from ._watch import Watch


def _is_path(value: Any) -> bool:
    return isinstance(value, (str, os.PathLike))


# ---- the rows ------------------------------------------------------------------------------------


class Rows:
    """X as rows of the report's features: pictures as height, width, channels."""

    def __init__(
        self,
        X: Any,
        *,
        channels_last: bool,
        layout: str | None,
        image_shape: Any,
        feature_names: Sequence[str] | None,
        input_range: Any,
        mean: Any,
        std: Any,
    ) -> None:
        names = feature_names
        if names is None and hasattr(X, "columns"):
            names = [str(each) for each in X.columns]
        if hasattr(X, "detach"):  # a tensor of PyTorch
            X = X.detach().cpu().numpy()
        values = np.asarray(X)
        if values.dtype == object or values.dtype.kind not in "fiub":
            raise ValueError(f"X must hold numbers; its dtype is {values.dtype}")
        if values.ndim < 2 or len(values) < 2:
            raise ValueError(f"X must be an array of two rows or more; its shape is {values.shape}")
        layout = _rows.check_layout(layout)
        self.shape = values.shape[1:]
        self.layout, self.image = _layout(self.shape, layout, channels_last, image_shape)
        values = values if values.dtype == np.float64 else values.astype(np.float32)
        values = _normalise(values, self.layout, input_range, mean, std)
        if not np.isfinite(values).all():
            raise ValueError("X holds values that are missing or not finite")
        self.order: FloatArray | None = None
        if self.layout == "NCHW" and self.image is not None and self.image[2] > 1:
            # Where the network's values lie in a row of the report.
            h, w, c = self.image
            self.order = np.arange(h * w * c).reshape(h, w, c).transpose(2, 0, 1).ravel()
            values = values.transpose(0, 2, 3, 1)
        self.values = np.ascontiguousarray(values.reshape(len(values), -1))
        if names is not None and len(names) != self.values.shape[1]:
            raise ValueError(f"feature_names: {len(names)} for {self.values.shape[1]} features")
        self.names = None if names is None else [str(name) for name in names]

    @property
    def form(self) -> _rows.Form:
        return _rows.Form(image=self.image, columns=self.names)


def _layout(
    shape: tuple[int, ...], layout: str | None, channels_last: bool, image_shape: Any
) -> tuple[str | None, tuple[int, int, int] | None]:
    """The order of a picture's axes, and (height, width, channels); None: no pictures."""
    given = _rows.check_image_shape(image_shape)
    if given is not None:
        if int(np.prod(given)) != int(np.prod(shape)):
            raise ValueError(f"image_shape {image_shape!r} has other than {np.prod(shape)} values")
        if len(shape) == 1:
            return "NHWC", given
    if len(shape) == 2:
        return "NHWC", (shape[0], shape[1], 1)
    if len(shape) != 3:
        return None, None
    first, last = shape[0] in (1, 3, 4), shape[2] in (1, 3, 4)
    if layout is None:
        if not first and not last:
            return None, None
        layout = "NHWC" if last and (channels_last or not first) else "NCHW"
    if layout == "NHWC":
        return layout, (shape[0], shape[1], shape[2])
    return layout, (shape[1], shape[2], shape[0])


def _range(name: str, value: Any) -> tuple[float, float] | None:
    if value is None:
        return None
    low, high = (float(each) for each in value)
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise ValueError(f"{name} must be (low, high), such as (-1, 1); it is {value!r}")
    return low, high


def _normalise(
    values: FloatArray, layout: str | None, input_range: Any, mean: Any, std: Any
) -> FloatArray:
    """The numbers that the networks see: bytes, or 0 to 1, into input_range; then mean and std."""
    within = _range("input_range", input_range)
    if (mean is None) != (std is None):
        raise ValueError("mean and std belong together: (x - mean) / std")
    if within is None and mean is None:
        return values
    low, high = within or (0.0, 1.0)
    top = 255.0 if values.max() > 1 else 1.0
    values = low + values / top * (high - low)
    if mean is None:
        return values
    shift, scale = np.atleast_1d(np.asarray(mean, float)), np.atleast_1d(np.asarray(std, float))
    if shift.shape != scale.shape or shift.ndim != 1 or not (scale > 0).all():
        raise ValueError("mean and std must be a number each, or one for each channel; std above 0")
    if len(shift) > 1:
        axis = 1 if layout == "NCHW" else values.ndim - 1
        if values.ndim < 3 or values.shape[axis] != len(shift):
            raise ValueError(f"mean: {len(shift)} numbers for rows of shape {values.shape[1:]}")
        across = [1] * values.ndim
        across[axis] = -1
        shift, scale = shift.reshape(across), scale.reshape(across)
    out: FloatArray = (values - shift) / scale
    return out


# ---- functions for the library -------------------------------------------------------------------


class _Callbacks:
    """Networks as C functions. What they raise is kept, and ends the audit."""

    def __init__(self, networks: Networks, watch: Watch) -> None:
        self.networks = networks
        self.error: BaseException | None = None
        n, d = networks.latents, networks.features

        def view(pointer: Any, *shape: int) -> FloatArray:
            return np.ctypeslib.as_array(pointer, shape)

        def guarded(work: Callable[..., None]) -> Callable[..., int]:
            def call(user: Any, *arguments: Any) -> int:
                try:
                    if watch.stopped:
                        return 1
                    work(*arguments)
                except BaseException as error:
                    self.error = self.error or error
                    return 1
                return 0

            return call

        def encode(rows: int, x: Any, mu: Any, logvar: Any) -> None:
            out = networks.encode(view(x, rows, d))
            view(mu, rows, n)[:], view(logvar, rows, n)[:] = out

        def decode(rows: int, z: Any, out: Any) -> None:
            view(out, rows, d)[:] = networks.decode(view(z, rows, n))

        def pullback(rows: int, z: Any, g: Any, out: Any) -> None:
            view(out, rows, n)[:] = networks.pullback(view(z, rows, n), view(g, rows, d))

        def pushforward(rows: int, z: Any, tangents: int, v: Any, out: Any) -> None:
            products = networks.pushforward(view(z, rows, n), view(v, tangents, rows, n))
            view(out, tangents, rows, d)[:] = products

        self.encode = lib.EncodeFn(guarded(encode))
        self.decode = lib.DecodeFn(guarded(decode))
        self.pullback = lib.PullbackFn(guarded(pullback))
        self.pushforward = lib.PushforwardFn(guarded(pushforward))


# ---- through ONNX --------------------------------------------------------------------------------


def _export(networks: Networks, rows: FloatArray, folder: Path) -> tuple[str, str]:
    """The two networks of PyTorch as files."""
    backend = networks.backend
    assert isinstance(backend, Torch)
    torch, modules = backend.torch, backend.modules

    class Encoder(torch.nn.Module):  # type: ignore[name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.parts = torch.nn.ModuleList(modules)

        def forward(self, x: Any) -> Any:
            mu, width = networks.posterior(x)
            return mu.flatten(1), width.flatten(1)

    class Decoder(Encoder):
        def forward(self, z: Any) -> Any:
            return networks.reconstruction(z)

    takes = inspect.signature(torch.onnx.export).parameters
    exporter = {"dynamo": False} if "dynamo" in takes else {}
    x = backend.tensor(networks._to_network(rows[:2]))
    z = backend.tensor(networks.encode(rows[:2])[0])
    for network, example, name, source, targets in (
        (Encoder(), x, "encoder.onnx", "x", ["mu", "width"]),
        (Decoder(), z, "decoder.onnx", "z", ["out"]),
    ):
        network.eval()
        torch.onnx.export(
            network,
            (example,),
            str(folder / name),
            input_names=[source],
            output_names=targets,
            dynamic_axes={each: {0: "batch"} for each in [source, *targets]},
            opset_version=17,
            **exporter,
        )
    return str(folder / "encoder.onnx"), str(folder / "decoder.onnx")


# ---- the audit -----------------------------------------------------------------------------------


def _configure(rows: Rows, options: dict[str, Any], notes: list[str]) -> Any:
    config = lib.config(lib.AuditConfig, "audit")
    config.as_is = 1
    config.loss = _text("loss", options["loss"])
    config.beta = _number("beta", options["beta"])
    config.loss_scale = _text("loss_scale", options["loss_scale"])
    config.kl_scale = _text("kl_scale", options["kl_scale"])
    config.seed = seed_of(options["random_state"])
    draws = options["iwae_draws"]
    if draws:
        config.iwae_draws = int(draws)
    else:
        config.no_iwae = 1
    config.command = b"isovae.audit"
    kept = [note.encode() for note in notes]
    config.notes = (c_char_p * len(kept))(*kept)
    config.n_notes = len(kept)
    return config


def _run(rows: Rows, config: Any, threads: int, watch: Watch) -> Report:
    form, values = rows.form, _rows.Rows(rows.values)
    with Context(threads, watch) as context, Data(values, form) as data:
        handle = c_void_p()
        lib.call("isovae_audit", context.handle, data.handle, byref(config), byref(handle))
        try:
            return Report(*read_report(handle), form.feature_names(values.features))
        finally:
            lib.library.isovae_report_free(handle)


def _run_files(
    encode: Any, decode: Any, rows: Rows, options: dict[str, Any], watch: Watch, notes: list[str]
) -> Report:
    config = _configure(rows, options, notes)
    config.encoder = None if encode is None else os.fsencode(encode)
    config.decoder = None if decode is None else os.fsencode(decode)
    for name in ("mu", "logvar", "z", "reconstruction", "head"):
        setattr(config, name, _text(name, options[name]))
    config.width_first = int(bool(options["width_first"]))
    config.means_only = int(bool(options["means_only"]))
    config.layout = _text("layout", rows.layout)
    for name, field in (("input_range", "input"), ("output_range", "output")):
        given = _range(name, options[name])
        if given is not None:
            setattr(config, f"{field}_low", given[0])
            setattr(config, f"{field}_high", given[1])
    return _run(rows, config, threads_of(options["n_jobs"]), watch)


def _run_live(
    networks: Networks, rows: Rows, options: dict[str, Any], watch: Watch, notes: list[str]
) -> Report:
    callbacks = _Callbacks(networks, watch)
    backend = networks.backend
    config = _configure(rows, options, [*networks.notes, *backend.notes, *notes])
    config.latents = networks.latents
    for name in ("encode", "decode", "pullback", "pushforward"):
        setattr(config, name, getattr(callbacks, name))
    config.convolutional = int(backend.convolutional)
    try:
        return _run(rows, config, 1, watch)
    except (lib.IsoVAEError, lib.Cancelled):
        if callbacks.error is not None:
            raise callbacks.error from None
        raise


def audit(
    encode: Any,
    decode: Any,
    X: Any,
    *,
    backend: str = "auto",
    beta: float | None = None,
    loss: str = "sse",
    loss_scale: str = "sum",
    kl_scale: str = "sum",
    head: str | None = None,
    width_first: bool = False,
    means_only: bool = False,
    logits: bool = False,
    layout: str | None = None,
    image_shape: Sequence[int] | None = None,
    feature_names: Sequence[str] | None = None,
    input_range: tuple[float, float] | None = None,
    output_range: tuple[float, float] | None = None,
    mean: Any = None,
    std: Any = None,
    mu: str | None = None,
    logvar: str | None = None,
    z: str | None = None,
    reconstruction: str | None = None,
    device: Any = None,
    chunk_size: int | None = None,
    iwae_draws: int = 64,
    random_state: Any = 0,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> Report:
    """Tell what the latents of a VAE are worth that was trained elsewhere.

    The analysis is that of the command `isovae audit` (docs/audit.md), on networks of PyTorch, JAX
    or Keras as they are in memory, on their own device, or on ONNX files. Modules of PyTorch are in
    evaluation mode meanwhile and get their mode back. Where the decoder has no forward derivatives
    (torch.func.jvp fails), both networks go through torch.onnx.export into a folder that is removed
    again, and a note of the report says so.

    Parameters
    ----------
    encode : module, function, path or None
        x -> the posterior's mean and width: a pair, one tensor that holds both halves, a dict, or a
        normal distribution. Codes may have any shape. None beside a decoder's file: what the
        decoder alone says, on draws from N(0, I).
    decode : module, function, path or None
        z -> reconstruction, in the numbers that `encode` takes. None with one ONNX file that holds
        the sampling.
    X : array-like of shape (n_samples, ...)
        Rows like those of the training, in the shape that `encode` takes; also tensors and data
        frames. Some hundred to some thousand rows are enough.
    backend : {"auto", "torch", "jax", "keras", "onnx"}, default="auto"
        Whose the networks are.
    beta : float, default=None
        The weight of the KL term in the training's loss; None: estimated from the latents, which
        cannot tell a wrong beta from too little training.
    loss : str, default="sse"
        The training's distance: "sse", "bce", "ssim:...", "weighted:...".
    loss_scale : {"sum", "mean", "half-sum", "half-mean"}, default="sum"
        What that loss does with the features: sums or means over them; half of it.
    kl_scale : {"sum", "mean"}, default="sum"
        What it does with the latents.
    head : {"logvar", "logsigma", "variance", "sigma"}, default=None
        What the width is; None: a log variance (files: by the tensor's name).
    width_first : bool, default=False
        The width stands before the mean.
    means_only : bool, default=False
        Of a file: look at the means alone, as where it gives no width. Importance then comes from
        the decoder's Jacobian, and nothing is said of optimum, rate and densities.
    logits : bool, default=False
        With loss="bce": `decode` gives logits. Else they come from its outputs, clipped to 1e-7
        from 0 and 1, and a note says which share of them is saturated. (In ONNX files a last
        sigmoid is cut.)
    layout : {"NCHW", "NHWC"}, default=None
        Of pictures in X. None: where the axis of 1, 3 or 4 channels is; where two could be, NCHW
        (JAX and Keras: NHWC).
    image_shape : tuple of int, default=None
        (height, width[, channels]) of rows that are flat pictures, for the report's page.
    feature_names : list of str, default=None
        Names of the features, in the order of the rows; of a data frame its columns.
    input_range : (float, float), default=None
        X holds bytes or 0 to 1, and the networks take this range. None: X holds what they take.
    output_range : (float, float), default=None
        The decoder's range, where it is another one.
    mean, std : float or sequence of float, default=None
        X then becomes (X - mean) / std, a number each or one for each channel.
    mu, logvar : str, default=None
        Names of the encoder's outputs (a dict's keys, or tensors of the file).
    z, reconstruction : str, default=None
        Names of the decoder's input and output in a file.
    device : device of PyTorch, default=None
        Where rows go; None: where the modules are.
    chunk_size : int, default=None
        Rows times latents that go through the decoder's derivatives at once, at most; None: as many
        as fill a few megabytes at its output.
    iwae_draws : int, default=64
        Draws of the importance-weighted estimate beside the densities, on 1,000 rows; 0: none.
    random_state : int, default=0
        Seed of the draws from the posterior.
    n_jobs : int, default=None
        Threads of the library, for files. Live networks have those of their framework.
    verbose : int, default=0
        1 shows progress.

    Returns
    -------
    Report
        Its numbers are in the networks' units. `report["audit"]` has what the audit adds: errors
        beside those of the mean and of PCA, the beta that fits best, notes.

    Examples
    --------
    >>> report = isovae.audit(vae.encode, vae.decode, x_test)          # doctest: +SKIP
    >>> print(report)                                                  # doctest: +SKIP
    >>> isovae.audit("enc.onnx", "dec.onnx", x_test, beta=1.0)         # doctest: +SKIP
    """
    options = dict(locals())
    if _is_path(encode) or _is_path(decode) or backend == "onnx":
        given = [each for each in (encode, decode) if each is not None]
        if not given or not all(_is_path(each) for each in given):
            raise TypeError("encode and decode must both be paths of ONNX files, or neither")
        if backend not in ("auto", "onnx"):
            raise ValueError(f"backend={backend!r} takes modules or functions, not paths")
        kind = "onnx"
    else:
        if encode is None or decode is None:
            raise TypeError("encode and decode must both be given as modules or functions")
        if means_only:
            raise ValueError("means_only is for ONNX files: export the networks")
        kind = choose(backend, encode, decode, X)
    watch = Watch(int(verbose))
    networks = None
    if kind != "onnx":
        networks_backend = make_backend(kind, encode, decode, device, X, chunk_size)
    rows = Rows(
        X,
        channels_last=kind != "onnx" and networks_backend.channels_last,
        layout=layout,
        image_shape=image_shape,
        feature_names=feature_names,
        input_range=input_range,
        mean=mean,
        std=std,
    )
    if loss == "bce" and (rows.values.min() < -1e-6 or rows.values.max() > 1 + 1e-6):
        raise ValueError(
            f"loss='bce' wants values from 0 to 1, and the networks see {rows.values.min():.4g} to "
            f"{rows.values.max():.4g}; input_range=(0, 1) brings bytes there"
        )
    if kind == "onnx":
        return watch.run(lambda: _run_files(encode, decode, rows, options, watch, []))
    affine = (1.0, 0.0)
    out_range, within = _range("output_range", output_range), _range("input_range", input_range)
    if out_range is not None and loss != "bce":
        low, high = within or (0.0, 1.0)
        factor = (high - low) / (out_range[1] - out_range[0])
        affine = factor, low - factor * out_range[0]
    networks = Networks(
        networks_backend,
        rows.shape,
        rows.order,
        head=head,
        width_first=width_first,
        names=(mu, logvar),
        logits=logits,
        bce=loss == "bce",
        out_affine=affine,
    )

    def work() -> Report:
        with networks_backend.evaluation():
            try:
                networks.probe(rows.values)
                return _run_live(networks, rows, options, watch, [])
            except NoDerivatives as reason:
                return _through_onnx(networks, rows, options, watch, reason)

    return watch.run(work)


def _through_onnx(
    networks: Networks, rows: Rows, options: dict[str, Any], watch: Watch, reason: NoDerivatives
) -> Report:
    said = f"the decoder has no forward derivatives ({reason})"
    if not isinstance(networks.backend, Torch) or (options["loss"] == "bce" and options["logits"]):
        raise lib.IsoVAERuntimeError(f"{said}, so it cannot be audited live") from reason
    with tempfile.TemporaryDirectory(prefix="isovae-") as folder:
        try:
            files = _export(networks, rows.values, Path(folder))
        except Exception as error:
            raise lib.IsoVAERuntimeError(
                f"{said}, and torch.onnx.export fails, too: {type(error).__name__}: {error}"
            ) from error
        of_files = {
            "mu": "mu",
            "logvar": "width",
            "z": None,
            "reconstruction": None,
            "head": networks.head,
            "width_first": False,
            "means_only": False,
        }
        note = f"read through torch.onnx.export: {said}"
        return _run_files(*files, rows, {**options, **of_files}, watch, [note])
