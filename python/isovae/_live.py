"""Networks of PyTorch, JAX and Keras as functions on arrays of doubles, with their derivatives.

What a backend has to do is small (`Backend`): carry rows to its device, run the two networks, and
give the decoder's products J v and J^T g. What the outputs mean (mean, width, logits, the order of a
picture's values) is the same for all and stands in `Networks`.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ._model import FloatArray

LEAST_PROBABILITY = 1e-7  # outputs are clipped to this from 0 and 1 before their logit
LEAST_WIDTH = 1e-15  # of a variance or a sigma that is 0 or below
HEADS = ("logvar", "logsigma", "variance", "sigma")


class NoDerivatives(Exception):
    """The decoder runs, but its derivatives do not; the cause says why."""


class Backend:
    """What Networks asks of a framework. Rows and results are its tensors."""

    channels_last = False
    convolutional = False
    notes: list[str]

    def __init__(self, encode: Callable[..., Any], decode: Callable[..., Any]) -> None:
        self.encode, self.decode = encode, decode
        self.notes = []

    @contextlib.contextmanager
    def evaluation(self) -> Iterator[None]:
        """The networks in evaluation mode; as they were afterwards."""
        yield

    def tensor(self, values: FloatArray) -> Any:
        raise NotImplementedError

    def array(self, tensor: Any) -> FloatArray:
        raise NotImplementedError

    def is_tensor(self, value: Any) -> bool:
        raise NotImplementedError

    def reshape(self, tensor: Any, *shape: int) -> Any:
        return tensor.reshape(*shape)

    def logit(self, p: Any) -> Any:
        """log(p / (1 - p)) of p clipped to LEAST_PROBABILITY from 0 and 1."""
        raise NotImplementedError

    def run(self, function: Callable[..., Any], x: Any) -> Any:
        """function(x), no derivatives wanted."""
        return function(x)

    def run_often(self, function: Callable[..., Any], x: Any) -> Any:
        """The same of a function that gives a tensor, and that may be compiled for it."""
        return self.run(function, x)

    def pullback(self, function: Callable[..., Any], z: Any, g: Any) -> Any:
        raise NotImplementedError

    def pushforward(self, function: Callable[..., Any], z: Any, v: Any) -> Any:
        """The products with each of v[0], v[1], ..."""
        raise NotImplementedError


# ---- PyTorch -------------------------------------------------------------------------------------


def torch_modules(function: Any, seen: set[int] | None = None) -> list[Any]:
    """The modules behind a function: itself, what it is a method of, what it refers to."""
    import torch

    seen = set() if seen is None else seen
    if id(function) in seen:
        return []
    seen.add(id(function))
    if isinstance(function, torch.nn.Module):
        return [function]
    if str(getattr(function, "__module__", "")).split(".")[0] == "torch":
        return []
    owner = getattr(function, "__self__", None)
    inner: list[Any] = [owner, getattr(function, "func", None)]
    inner += list(getattr(owner, "__dict__", {}).values())  # an object that holds modules
    inner += list(getattr(function, "args", None) or [])
    code = getattr(function, "__code__", None)
    if code is not None:
        for cell in function.__closure__ or ():
            with contextlib.suppress(ValueError):  # an empty cell
                inner.append(cell.cell_contents)
        inner += [function.__globals__.get(name) for name in code.co_names]
    found: list[Any] = []
    for each in inner:
        if isinstance(each, torch.nn.Module) or (
            each is not None and callable(each) and hasattr(each, "__code__")
        ):
            found += torch_modules(each, seen)
        elif hasattr(each, "__self__") or hasattr(each, "func"):
            found += torch_modules(each, seen)
    return found


class Torch(Backend):
    def __init__(
        self,
        encode: Callable[..., Any],
        decode: Callable[..., Any],
        device: Any = None,
        example: Any = None,
        chunk_size: int | None = None,
    ) -> None:
        import torch

        super().__init__(encode, decode)
        self.torch = torch
        try:
            from torch import func
        except ImportError:  # 1.13
            import functorch as func
        self.func = func
        self.modules = [*torch_modules(encode), *torch_modules(decode)]
        parameters = [p for m in self.modules for p in [*m.parameters(), *m.buffers()]]
        floating = [p for p in parameters if p.is_floating_point()]
        if not floating and isinstance(example, torch.Tensor):
            parameters = [example]
            floating = [example] if example.is_floating_point() else []
        if device is not None:
            self.device = torch.device(device)
        else:
            self.device = parameters[0].device if parameters else torch.device("cpu")
        self.dtype = floating[0].dtype if floating else torch.get_default_dtype()
        self.convolutional = any(
            type(part).__name__.startswith("Conv") for m in self.modules for part in m.modules()
        )
        self.chunk_size = chunk_size
        self.one_by_one = False

    @contextlib.contextmanager
    def evaluation(self) -> Iterator[None]:
        before = [(part, part.training) for m in self.modules for part in m.modules()]
        for module in self.modules:
            module.eval()
        try:
            yield
        finally:
            for part, training in before:
                part.training = training

    @contextlib.contextmanager
    def _plain_attention(self) -> Iterator[None]:
        """Fused attention has no forward derivative."""
        try:
            from torch.nn.attention import SDPBackend, sdpa_kernel
        except ImportError:
            yield
            return
        with sdpa_kernel(SDPBackend.MATH):
            yield

    def tensor(self, values: FloatArray) -> Any:
        return self.torch.tensor(np.ascontiguousarray(values), dtype=self.dtype, device=self.device)

    def array(self, tensor: Any) -> FloatArray:
        tensor = tensor.detach().to("cpu", self.torch.float64)
        out: FloatArray = tensor.numpy()
        return out

    def is_tensor(self, value: Any) -> bool:
        return isinstance(value, self.torch.Tensor)

    def logit(self, p: Any) -> Any:
        if p.dtype in (self.torch.float16, self.torch.bfloat16):
            p = p.float()
        p = p.clamp(LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
        return self.torch.log(p) - self.torch.log1p(-p)

    def run(self, function: Callable[..., Any], x: Any) -> Any:
        with self.torch.no_grad():
            return function(x)

    def pullback(self, function: Callable[..., Any], z: Any, g: Any) -> Any:
        with self.torch.enable_grad():
            z = z.detach().requires_grad_()
            out = function(z)
            if not out.requires_grad:
                raise NoDerivatives("no gradient reaches z (no_grad or detach inside?)")
            return self.torch.autograd.grad(out, z, g.to(out.dtype))[0]

    def pushforward(self, function: Callable[..., Any], z: Any, v: Any) -> Any:
        def product(tangent: Any) -> Any:
            return self.func.jvp(function, (z,), (tangent,))[1]

        with self.torch.no_grad(), self._plain_attention():
            if not self.one_by_one:
                try:
                    step = len(v) if self.chunk_size is None else max(1, self.chunk_size // len(z))
                    parts = [self.func.vmap(product)(part) for part in v.split(step)]
                    return parts[0] if len(parts) == 1 else self.torch.cat(parts)
                except RuntimeError as error:
                    if "out of memory" in str(error).lower():
                        raise
                    self.one_by_one = True
                    self.notes.append(
                        "torch.func.vmap does not take the decoder: latents go one by one"
                    )
            return self.torch.stack([product(each) for each in v])


# ---- JAX -----------------------------------------------------------------------------------------


class Jax(Backend):
    channels_last = True

    def __init__(self, encode: Callable[..., Any], decode: Callable[..., Any]) -> None:
        import jax

        super().__init__(encode, decode)
        self.jax = jax
        self._compiled: dict[tuple[int, str], Callable[..., Any]] = {}
        self._kept: list[Any] = []  # so that no id comes back

    def _jit(self, function: Callable[..., Any], kind: str, make: Callable[..., Any]) -> Any:
        key = id(function), kind
        if key not in self._compiled:
            self._compiled[key] = self.jax.jit(make)
            self._kept.append(function)
        return self._compiled[key]

    def tensor(self, values: FloatArray) -> Any:
        return self.jax.numpy.asarray(values, dtype=self.jax.numpy.float32)

    def array(self, tensor: Any) -> FloatArray:
        return np.asarray(tensor, dtype=np.float64)

    def is_tensor(self, value: Any) -> bool:
        return isinstance(value, (self.jax.Array, np.ndarray))

    def logit(self, p: Any) -> Any:
        numpy = self.jax.numpy
        p = numpy.clip(p, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
        return numpy.log(p) - numpy.log1p(-p)

    def run_often(self, function: Callable[..., Any], x: Any) -> Any:
        return self._jit(function, "run", function)(x)

    def pullback(self, function: Callable[..., Any], z: Any, g: Any) -> Any:
        def product(z: Any, g: Any) -> Any:
            return self.jax.vjp(function, z)[1](g)[0]

        return self._jit(function, "pullback", product)(z, g)

    def pushforward(self, function: Callable[..., Any], z: Any, v: Any) -> Any:
        def product(z: Any, v: Any) -> Any:
            return self.jax.vmap(lambda t: self.jax.jvp(function, (z,), (t,))[1])(v)

        return self._jit(function, "pushforward", product)(z, v)


# ---- Keras on TensorFlow -------------------------------------------------------------------------


class TensorFlow(Backend):
    channels_last = True

    def __init__(self, encode: Callable[..., Any], decode: Callable[..., Any]) -> None:
        import tensorflow

        super().__init__(encode, decode)
        self.tf = tensorflow

    def tensor(self, values: FloatArray) -> Any:
        return self.tf.convert_to_tensor(values, dtype=self.tf.float32)

    def array(self, tensor: Any) -> FloatArray:
        return np.asarray(tensor, dtype=np.float64)

    def is_tensor(self, value: Any) -> bool:
        return bool(self.tf.is_tensor(value))

    def reshape(self, tensor: Any, *shape: int) -> Any:
        return self.tf.reshape(tensor, shape)

    def logit(self, p: Any) -> Any:
        p = self.tf.clip_by_value(p, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
        return self.tf.math.log(p) - self.tf.math.log1p(-p)

    def pullback(self, function: Callable[..., Any], z: Any, g: Any) -> Any:
        with self.tf.GradientTape() as tape:
            tape.watch(z)
            out = function(z)
        return tape.gradient(out, z, output_gradients=g)

    def pushforward(self, function: Callable[..., Any], z: Any, v: Any) -> Any:
        products = []
        for tangent in v:
            with self.tf.autodiff.ForwardAccumulator(z, tangent) as accumulator:
                out = function(z)
            products.append(accumulator.jvp(out))
        return self.tf.stack(products)


def _keras(encode: Any, decode: Any, device: Any, example: Any, chunk: int | None) -> Backend:
    import keras

    def inference(model: Any) -> Callable[..., Any]:
        if isinstance(model, keras.layers.Layer):
            return lambda x: model(x, training=False)
        return model  # type: ignore[no-any-return]

    name = keras.backend.backend()
    encode, decode = inference(encode), inference(decode)
    if name == "jax":
        return Jax(encode, decode)
    if name == "tensorflow":
        return TensorFlow(encode, decode)
    if name == "torch":
        out = Torch(encode, decode, device, example, chunk)
        out.channels_last = keras.backend.image_data_format() == "channels_last"
        return out
    raise ValueError(
        f"Keras runs on {name!r}; an audit takes its backends torch, jax and tensorflow"
    )


# ---- which one -----------------------------------------------------------------------------------


def choose(backend: str, encode: Any, decode: Any, X: Any) -> str:
    """What "auto" means; frameworks that nobody has imported are not imported for it."""
    if backend != "auto":
        return backend
    if "keras" in sys.modules:
        import keras

        if isinstance(encode, keras.layers.Layer) or isinstance(decode, keras.layers.Layer):
            return "keras"
    if "torch" in sys.modules:
        import torch

        if isinstance(X, torch.Tensor) or torch_modules(encode) or torch_modules(decode):
            return "torch"
    if "jax" in sys.modules:
        import jax

        if isinstance(X, jax.Array) or "torch" not in sys.modules:
            return "jax"
    elif "torch" in sys.modules:
        return "torch"
    raise ValueError(
        "which framework encode and decode are of cannot be told; give backend='torch', 'jax' or "
        "'keras'"
    )


def make_backend(
    name: str, encode: Any, decode: Any, device: Any, example: Any, chunk_size: int | None
) -> Backend:
    for what, function in (("encode", encode), ("decode", decode)):
        if not callable(function):
            raise TypeError(f"{what} must be a module, a function or the path of an ONNX file")
    if name == "torch":
        return Torch(encode, decode, device, example, chunk_size)
    if name == "jax":
        return Jax(encode, decode)
    if name == "keras":
        return _keras(encode, decode, device, example, chunk_size)
    raise ValueError(f"backend must be 'auto', 'torch', 'jax', 'keras' or 'onnx'; it is {name!r}")


# ---- what the outputs mean -----------------------------------------------------------------------


class Networks:
    """Encoder and decoder on rows of doubles in the order of the report's features."""

    def __init__(
        self,
        backend: Backend,
        shape: Sequence[int],
        order: FloatArray | None,
        *,
        head: str | None,
        width_first: bool,
        names: tuple[str | None, str | None],
        logits: bool,
        bce: bool,
        out_affine: tuple[float, float],
    ) -> None:
        if head is not None and head not in HEADS:
            raise ValueError(f"head must be one of {', '.join(HEADS)}; it is {head!r}")
        self.backend = backend
        self.shape = tuple(shape)
        self.features = int(np.prod(self.shape))
        self.order = order  # of the network's values in a row, or None where it is the same
        self.head, self.width_first, self.names = head or "logvar", width_first, names
        self.make_logits = bce and not logits
        self.scale, self.shift = out_affine
        self.latents = 0
        self.latent_shape: tuple[int, ...] = ()
        self.notes: list[str] = []
        self._function = self.output  # one object, by which backends know it
        if head is None:
            self.notes.append(
                "the width of the posterior is taken as a log variance; head= tells otherwise"
            )

    # Rows of the report to the network's, and back.

    def _to_network(self, rows: FloatArray) -> FloatArray:
        if self.order is not None:
            rows = rows[..., self.order]
        out: FloatArray = rows.reshape(*rows.shape[:-1], *self.shape)
        return out

    def _from_network(self, values: FloatArray) -> FloatArray:
        if self.order is None:
            return values
        out = np.empty_like(values)
        out[..., self.order] = values
        return out

    # The encoder.

    def posterior(self, x: Any) -> tuple[Any, Any]:
        """Mean and width as the encoder gives them."""
        b = self.backend
        out = b.run(b.encode, x)
        if isinstance(out, Mapping):
            mu, width = self.names[0] or "mu", self.names[1] or "logvar"
            if mu not in out or width not in out:
                raise ValueError(
                    f"encode gives {', '.join(map(repr, out))}: name the mean and the width by mu= "
                    "and logvar="
                )
            return out[mu], out[width]
        if b.is_tensor(out):
            axis = out.ndim - 1 if b.channels_last else 1
            size = out.shape[axis] if out.ndim > 1 else 0
            if size < 2 or size % 2:
                raise ValueError(
                    f"encode gives one tensor of shape {tuple(out.shape)}; it must be mean and "
                    "width, or one that holds both halves"
                )
            half = size // 2
            first = (slice(None),) * axis + (slice(0, half),)
            second = (slice(None),) * axis + (slice(half, None),)
            pair = out[first], out[second]
        elif isinstance(out, (tuple, list)) and len(out) >= 2:
            pair = out[0], out[1]
        elif all(b.is_tensor(getattr(out, name, None)) for name in ("mean", "stddev")):
            self.head = "sigma"  # a distribution
            return out.mean, out.stddev
        else:
            raise ValueError(
                f"encode gives a {type(out).__name__}; it must be (mu, logvar), one tensor that "
                "holds both, or a normal distribution"
            )
        for each in pair:
            if not b.is_tensor(each):
                raise ValueError(
                    f"encode gives a {type(each).__name__} where mean and width should be"
                )
        return (pair[1], pair[0]) if self.width_first else pair

    def encode(self, rows: FloatArray) -> tuple[FloatArray, FloatArray]:
        b = self.backend
        mu, width = self.posterior(b.tensor(self._to_network(rows)))
        if tuple(mu.shape) != tuple(width.shape) or len(mu.shape) < 2 or len(mu) != len(rows):
            raise ValueError(
                f"encode gives a mean of shape {tuple(mu.shape)} and a width of shape "
                f"{tuple(width.shape)} for {len(rows)} rows; both must be (rows, latents)"
            )
        self.latent_shape = tuple(mu.shape[1:])
        flat = b.array(mu).reshape(len(rows), -1), b.array(width).reshape(len(rows), -1)
        mean, logvar = flat
        if self.head in ("variance", "sigma"):
            logvar = np.log(np.maximum(logvar, LEAST_WIDTH))
        if self.head in ("sigma", "logsigma"):
            logvar = 2 * logvar
        return mean, logvar

    # The decoder.

    def reconstruction(self, z: Any) -> Any:
        """What the decoder gives, a row each, in its own order."""
        b = self.backend
        if len(self.latent_shape) > 1:
            z = b.reshape(z, z.shape[0], *self.latent_shape)
        out = b.decode(z)
        if not b.is_tensor(out):
            if isinstance(out, (tuple, list)) and out and b.is_tensor(out[0]):
                out = out[0]
            elif b.is_tensor(getattr(out, "mean", None)):
                out = out.mean
            else:
                raise ValueError(f"decode gives a {type(out).__name__}; it must be a tensor")
        size = int(np.prod([int(s) for s in out.shape[1:]]))
        if int(out.shape[0]) != int(z.shape[0]) or size != self.features:
            raise ValueError(
                f"decode gives shape {tuple(out.shape)} for {z.shape[0]} codes; it must give one "
                f"row of {'x'.join(map(str, self.shape))} for each"
            )
        return b.reshape(out, out.shape[0], self.features)

    def output(self, z: Any) -> Any:
        out = self.reconstruction(z)
        return self.backend.logit(out) if self.make_logits else out

    def decode(self, z: FloatArray) -> FloatArray:
        b = self.backend
        out = b.array(b.run_often(self._function, b.tensor(z)))
        return self._from_network(out * self.scale + self.shift)

    def pullback(self, z: FloatArray, g: FloatArray) -> FloatArray:
        b = self.backend
        g = g if self.order is None else g[:, self.order]
        return b.array(b.pullback(self._function, b.tensor(z), b.tensor(g * self.scale)))

    def pushforward(self, z: FloatArray, v: FloatArray) -> FloatArray:
        b = self.backend
        out = b.array(b.pushforward(self._function, b.tensor(z), b.tensor(v)))
        return self._from_network(out * self.scale)

    # Before the audit.

    def probe(self, rows: FloatArray) -> None:
        """Runs all once on a few rows: errors are clearer here, and shapes are known afterwards.

        Raises NoDerivatives where only the Jacobian's products fail.
        """
        few = rows[: min(8, len(rows))]
        mu, logvar = self.encode(few)
        self.latents = mu.shape[1]
        _check_finite("encode", "a mean", mu)
        _check_finite("encode", "a width", logvar)
        if not all(_same(*pair) for pair in zip(self.encode(few), (mu, logvar))):
            raise ValueError(
                "encode gives other numbers for the same rows: it draws (then give the mean and the "
                "width, not a sample), or dropout is not in evaluation mode"
            )
        out = self.decode(mu)
        _check_finite("decode", "a value", out)
        if not _same(out, self.decode(mu)):
            raise ValueError(
                "decode gives other numbers for the same codes: dropout that is not in evaluation "
                "mode, or noise"
            )
        if self.make_logits:
            self._note_saturation(rows)
        try:
            v = np.eye(self.latents)[:2, None, :] * np.ones((1, len(few), 1))
            for product in (self.pushforward(mu, v), self.pullback(mu, out)):
                _check_finite("decode", "a derivative", product)
        except (ValueError, MemoryError):
            raise
        except Exception as error:
            raise NoDerivatives(f"{type(error).__name__}: {_first_line(error)}") from error

    def _note_saturation(self, rows: FloatArray) -> None:
        b = self.backend
        beyond = count = 0
        for first in range(0, min(1000, len(rows)), 200):
            mu, _ = self.encode(rows[first : first + 200])
            p = b.array(b.run(self.reconstruction, b.tensor(mu)))
            if p.min() < -1e-6 or p.max() > 1 + 1e-6:
                raise ValueError(
                    f"loss='bce' wants probabilities of decode, and it gives {p.min():.4g} to "
                    f"{p.max():.4g}; logits=True says that these are logits"
                )
            limit = np.float32(LEAST_PROBABILITY)
            beyond += int(((p <= limit) | (p >= 1 - limit)).sum())
            count += p.size
        self.notes.append(
            f"logits come from decode's outputs, clipped to {LEAST_PROBABILITY:g} from 0 and 1; "
            f"{100 * beyond / count:.2g} % of Dec(mu) lie beyond (saturated); logits=True takes logits"
        )


def _check_finite(who: str, what: str, values: FloatArray) -> None:
    bad = ~np.isfinite(values)
    if bad.any():
        raise ValueError(f"{who} gives {what} that is not finite ({int(bad.sum())} of {bad.size})")


def _same(a: FloatArray, b: FloatArray) -> bool:
    """But for the order of sums, which some devices do not keep."""
    return bool(np.abs(a - b).max() <= 1e-3 * np.abs(a).max())


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0][:300]
