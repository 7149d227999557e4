#!/usr/bin/env python3
"""Networks of Keras (by tf2onnx) and JAX/flax (by jax2onnx) as ONNX files, beside the frameworks.

    tests/onnx/frameworks.py [keras|jax ...] [--program build/tests/onnx_run]
                             [--isovae build/isovae] [--only TEXT] [--keep DIR]

Each network is exported in the ways that its users have (`from_function`, `from_keras` where the
installed Keras goes with it, `Model.export`; `to_onnx` with a free and a fixed batch). isovae's
outputs are compared with those of the framework and of ONNX Runtime (1e-5 of the largest element),
its tangents with differences and its reverse pass with the tangents, in double. VAEs are trained
for a moment and audited by `isovae audit`: the latents' KL and the squared error of Dec(mu) must be
those that the framework computes. Needs what `scripts/onnx-setup.sh frameworks` installs into
build/frameworks-venv. Exit status 1 where something is refused or differs."""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
warnings.filterwarnings("ignore")

import numpy as np
import onnx
import onnxruntime

LIMIT, TANGENT_LIMIT, REVERSE_LIMIT, AUDIT_LIMIT = 1e-5, 1e-4, 1e-9, 1e-4
ROWS = 256
onnxruntime.set_default_logger_severity(3)


# ---- data ----

def table():
    r = np.random.default_rng(1)
    s = r.normal(size=(ROWS, 3)) * [1.0, 0.7, 0.45]
    mix = np.linalg.qr(r.normal(size=(8, 3)))[0].T * 1.5
    return (s @ mix + 0.05 * r.normal(size=(ROWS, 8))).astype(np.float32)


def pictures():
    """Blobs of 8 x 8 in three colours, NHWC, 0 to 255."""
    r = np.random.default_rng(5)
    y, x = np.mgrid[0:8, 0:8]
    cx, cy, s = r.uniform(2, 5, ROWS), r.uniform(2, 5, ROWS), r.uniform(1.2, 2.2, ROWS)
    p = np.exp(-((x - cx[:, None, None]) ** 2 + (y - cy[:, None, None]) ** 2) /
               (2 * s[:, None, None] ** 2))
    tint = np.column_stack([np.ones(ROWS), r.uniform(0.2, 0.9, ROWS), np.full(ROWS, 0.3)])
    return np.rint(255 * p[..., None] * tint[:, None, None, :]).astype(np.uint8)


# ---- comparison ----

class Check:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.bad, self.done, self.worst, self.operators = 0, 0, 0.0, set()

    def fail(self, label, what):
        self.bad += 1
        print(f"{label}: {what}", flush=True)

    def run(self, path, x, *flags):
        given, taken = self.folder / "in.bin", self.folder / "out.bin"
        np.concatenate([np.asarray(i, np.float64).ravel() for i in x]).tofile(given)
        ran = subprocess.run([self.options.program, "-m", *flags, str(path), str(len(x[0])),
                              str(given), str(taken)], capture_output=True, text=True)
        if ran.returncode != 0:
            return None, ran.stderr.strip() or f"exit {ran.returncode}"
        return np.fromfile(taken), ran.stdout

    def outputs(self, label, path, x, want, runtime=True):
        """`want`: of the framework; outputs in its order."""
        self.operators |= {n.op_type for n in onnx.load(str(path), load_external_data=False).graph.node}
        want = [np.asarray(w, np.float64).ravel() for w in want]
        sides = [("framework", want)]
        if runtime:
            try:
                session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
                fed = dict(zip([i.name for i in session.get_inputs()], x))
                sides.append(("runtime", [i.astype(np.float64).ravel() for i in session.run(None, fed)]))
            except Exception as error:
                print(f"{label}: not in ONNX Runtime: {str(error).splitlines()[0][:120]}")
        got, said = self.run(path, x)
        if got is None:
            return self.fail(label, f"refused: {said}")
        found = []
        for side, parts in sides:
            at, off = 0, 0.0
            for w in parts:
                # np.maximum keeps what is no number
                off = np.maximum(off, np.abs(got[at:at + w.size] - w).max() / np.abs(w).max())
                at += w.size
            if at != got.size:
                return self.fail(label, f"{got.size} numbers, not {at}")
            found.append(off)
        checked, said = self.run(path, x, "-c", "-p", "f64")
        if checked is None:
            return self.fail(label, f"in double: {said}")
        line = [i for i in said.splitlines() if i.startswith("tangent")][0].split()
        tangent, reverse = float(line[1]), float(line[3])
        self.done += 1
        off = np.max(found)
        self.worst = np.maximum(self.worst, off)
        text = " ".join(f"{side[0]} {off:.2g}" for side, off in zip(sides, found))
        text += f" tangent {tangent:.2g} reverse {reverse:.2g}"
        if off <= LIMIT and tangent <= TANGENT_LIMIT and reverse <= REVERSE_LIMIT:
            print(f"{label}: {text}", flush=True)
        else:
            self.fail(label, "differs: " + text)

    def audit(self, label, files, data, mu, logvar, xhat, *flags):
        """`xhat` in the order and range of the networks (0 to 1 for pictures), as `data`'s."""
        rows = self.folder / "rows.npy"
        np.save(rows, data)
        report = self.folder / "report.json"
        ran = subprocess.run([self.options.isovae, "audit", str(rows), "--json", str(report), *files,
                              *flags], capture_output=True, text=True)
        if not report.exists():
            return self.fail(f"{label} audit", f"exit {ran.returncode}: {ran.stderr.strip()}")
        told = json.loads(report.read_text())
        report.unlink()
        x = data.astype(np.float64) / (255 if data.dtype == np.uint8 else 1)
        mu, logvar, xhat = (np.asarray(i, np.float64) for i in (mu, logvar, xhat))
        kl = (0.5 * (mu ** 2 + np.exp(logvar) - logvar - 1)).mean(0)
        error = ((xhat - x) ** 2).reshape(ROWS, -1).sum(1).mean()
        by_index = np.zeros(len(kl))
        for latent in told["latents"]:
            by_index[latent["index"]] = latent["kl_nats"]
        off = max(np.abs(by_index - kl).max() / kl.max(),
                  abs(told["audit"]["reconstruction"]["error"] / error - 1))
        text = (f"{label} audit: error {error:.4g} (mean {told['audit']['reconstruction']['mean']:.4g}), "
                f"rate {kl.sum():.4g}, off by {off:.2g}")
        self.done += 1
        if off <= AUDIT_LIMIT:
            print(text, flush=True)
        else:
            self.fail(label, text + f" {by_index} {kl}")


# ---- Keras ----

def keras_ways(tf, keras, check, label, model, shapes, path):
    """Files of a model, each made in another way: (label, path)."""
    import tf2onnx

    def signature(batch):
        return [tf.TensorSpec((batch, *s), tf.float32, name=f"x{i}") for i, s in enumerate(shapes)]

    def by_function(batch, opset):
        @tf.function(input_signature=signature(batch))
        def f(*x):
            return model(x[0] if len(x) == 1 else list(x), training=False)
        tf2onnx.convert.from_function(f, input_signature=signature(batch), opset=opset,
                                      output_path=str(path))

    def by_export(batch, opset):
        model.export(str(path), format="onnx", verbose=False, opset_version=opset)

    def by_keras(batch, opset):
        tf2onnx.convert.from_keras(model, input_signature=signature(batch), opset=opset,
                                   output_path=str(path))

    for way, f, batch, opset in (("function", by_function, None, 17), ("fixed", by_function, 1, 13),
                                 ("export", by_export, None, 18), ("keras", by_keras, None, 15)):
        if path.exists():
            path.unlink()
        try:
            f(batch, opset)
        except Exception as error:
            print(f"{label} {way}: the exporter fails: {str(error).splitlines()[0][:120]}")
            continue
        yield f"{label} {way}", batch or 3


def keras_cases(check):
    import tensorflow as tf
    import keras
    from keras import layers as L
    keras.utils.set_random_seed(1)
    random = np.random.default_rng(2)

    def settle(model):
        """Statistics of batch norms as if it had been trained."""
        for layer in model._flatten_layers():
            if isinstance(layer, L.BatchNormalization):
                n = layer.moving_mean.shape[0]
                layer.moving_mean.assign(random.normal(0, 0.3, n))
                layer.moving_variance.assign(random.uniform(0.5, 2, n))

    def net(row, *stack):
        x = y = keras.Input(row)
        for layer in stack:
            y = layer(y)
        return keras.Model(x, y)

    class Split(L.Layer):
        def call(self, x):
            a, b = tf.split(x, 2, axis=-1)
            return tf.concat([a * tf.sigmoid(b), tf.nn.softplus(a)], -1)

    def attention(row, heads, width):
        x = keras.Input(row)
        y = L.LayerNormalization()(x)
        y = x + L.MultiHeadAttention(heads, width)(y, y)
        y = y + L.Dense(row[-1])(L.Dense(16, activation="gelu")(L.LayerNormalization()(y)))
        return keras.Model(x, y)

    def residual():
        x = keras.Input((8, 8, 4))
        y = L.Conv2D(4, 3, padding="same")(L.Activation("swish")(L.GroupNormalization(2)(x)))
        y = L.Add()([x, L.SeparableConv2D(4, 3, padding="same")(y)])
        y = L.Concatenate()([y, L.DepthwiseConv2D(3, padding="same")(y)])
        return keras.Model(x, L.PReLU(shared_axes=[1, 2])(y))

    def scaled_attention():
        """Pixels as tokens, as in a diffusion U-Net."""
        x = keras.Input((4, 4, 8))
        h = L.Reshape((16, 8))(x)
        h = L.Attention(use_scale=False)([L.Dense(8)(h), L.Dense(8)(h), L.Dense(8)(h)])
        return keras.Model(x, L.Add()([x, L.Reshape((4, 4, 8))(h)]))

    cases = {
        "dense": net((7,), L.Dense(20, activation="relu"), L.BatchNormalization(), L.Dropout(0.3),
                     L.Dense(20, activation="tanh"), L.Dense(4)),
        "activations": net((6,), *[layer for name in (
            "elu", "selu", "softplus", "softsign", "gelu", "swish", "mish", "hard_sigmoid",
            "hard_silu", "leaky_relu", "relu6", "celu", "exponential", "log_softmax", "softmax",
            "silu", "tanh", "squareplus", "sparse_plus", "hard_tanh", "tanh_shrink",
            "log_sigmoid", "hard_shrink", "soft_shrink", "sigmoid")
            if hasattr(keras.activations, name)
            for layer in (L.Dense(6, bias_initializer="random_normal"), L.Activation(name))]),
        "conv": net((12, 12, 3), L.Conv2D(8, 4, 2, padding="same"), L.BatchNormalization(),
                    L.LeakyReLU(0.2), L.ZeroPadding2D(1), L.Conv2D(8, 3, 2, use_bias=False),
                    L.BatchNormalization(), L.ReLU(), L.MaxPooling2D(2, padding="same"),
                    L.Flatten(), L.Dense(5)),
        "transposed": net((5,), L.Dense(3 * 3 * 8, activation="relu"), L.Reshape((3, 3, 8)),
                          L.Conv2DTranspose(8, 3, 2, padding="same", activation="relu"),
                          L.BatchNormalization(), L.Conv2DTranspose(4, 4, 2, padding="valid"),
                          L.Cropping2D(1), L.Conv2DTranspose(3, 3, padding="same",
                                                             activation="sigmoid")),
        "upsampling": net((4, 4, 6), L.UpSampling2D(2), L.Conv2D(6, 3, padding="same"),
                          L.UpSampling2D(2, interpolation="bilinear"), L.LeakyReLU(),
                          L.AveragePooling2D(2), L.LayerNormalization(),
                          L.UpSampling2D(2, interpolation="bicubic"), L.SpatialDropout2D(0.2),
                          L.Resizing(12, 12), L.Resizing(9, 9, interpolation="nearest"),
                          L.GlobalAveragePooling2D(), L.Dense(3)),
        "attention": attention((6, 8), 2, 4),
        "pixels": scaled_attention(),
        "residual": residual(),
        "norms": net((6, 6, 4), L.UnitNormalization(), L.LayerNormalization(axis=[1, 2, 3]),
                     L.GroupNormalization(4), L.Conv2D(4, 1), L.GroupNormalization(1),
                     L.GlobalMaxPooling2D(keepdims=True), L.Flatten(), L.Rescaling(2.0, -0.5)),
        "signal": net((16, 3), L.Conv1D(6, 5, 2, padding="same", activation="elu"),
                      L.MaxPooling1D(2), L.Conv1D(6, 3, padding="causal", dilation_rate=2),
                      L.UpSampling1D(2), L.Conv1DTranspose(4, 3, 2, padding="same"),
                      L.AveragePooling1D(2), L.Permute((2, 1)), L.GlobalAveragePooling1D()),
        "volume": net((6, 6, 6, 2), L.Conv3D(4, 3, 2, padding="same", activation="relu"),
                      L.BatchNormalization(), L.Conv3DTranspose(3, 3, 2, padding="same"),
                      L.MaxPooling3D(2), L.UpSampling3D(2), L.AveragePooling3D(2),
                      L.GlobalAveragePooling3D()),
        "gates": net((8,), L.Dense(8), Split(), L.RepeatVector(3), L.Dense(5), L.Softmax(axis=-1)),
        "einsum": net((5, 8), L.EinsumDense("abc,cde->abde", output_shape=(None, 2, 4)),
                      L.EinsumDense("abde,dec->abc", output_shape=(None, 6), bias_axes="c")),
        "shuffle": net((4, 4, 8), L.Lambda(lambda x: tf.nn.depth_to_space(x, 2)),
                       L.Lambda(lambda x: tf.nn.space_to_depth(x, 2)),
                       L.Lambda(lambda x: tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], "REFLECT")),
                       L.Lambda(lambda x: tf.where(x > 0.2, x, tf.square(x))),
                       L.Lambda(lambda x: tf.tile(x, [1, 1, 2, 1])),
                       L.Lambda(lambda x: tf.nn.l2_normalize(x, -1)),
                       L.Lambda(lambda x: tf.reduce_logsumexp(x, axis=[1, 2])),
                       L.Lambda(lambda x: tf.clip_by_value(x, -1, 20))),
    }
    for name, model in cases.items():
        if check.options.only and check.options.only not in name:
            continue
        settle(model)
        row = model.input_shape[1:]
        path = check.folder / f"keras_{name}.onnx"
        for label, rows in keras_ways(tf, keras, check, f"keras {name}", model, [row], path):
            x = random.normal(size=(rows, *row)).astype(np.float32)
            want = np.asarray(model(x, training=False))
            check.outputs(label, path, [x], [want])

    class Sampling(L.Layer):
        def call(self, inputs):
            m, v = inputs
            return m + tf.exp(0.5 * v) * tf.random.normal(tf.shape(m))

    class KerasSampling(L.Layer):
        """As in keras.io's example."""

        def __init__(self):
            super().__init__()
            self.generator = keras.random.SeedGenerator(3)

        def call(self, inputs):
            m, v = inputs
            noise = keras.random.normal(shape=(keras.ops.shape(m)[0], keras.ops.shape(m)[1]),
                                        seed=self.generator)
            return m + keras.ops.exp(0.5 * v) * noise

    def table_nets():
        x = keras.Input((8,))
        h = L.Dense(32, activation="tanh")(L.Dense(32, activation="tanh")(x))
        encoder = keras.Model(x, [L.Dense(4, name="z_mean")(h), L.Dense(4, name="z_log_var")(h)])
        return encoder, net((4,), L.Dense(32, activation="tanh"), L.Dense(32, activation="tanh"),
                            L.Dense(8)), False

    def picture_nets():
        x = keras.Input((8, 8, 3))
        h = L.Conv2D(8, 3, 2, padding="same", activation="relu")(x)
        h = L.Conv2D(16, 3, 2, padding="same")(h)
        h = L.Flatten()(L.LeakyReLU(0.1)(L.BatchNormalization(momentum=0.9)(h)))
        h = L.Dense(16, activation="relu")(h)
        mean, width = L.Dense(3, name="z_mean")(h), L.Dense(3, name="z_log_var")(h)
        return keras.Model(x, [width, mean]), net(
            (3,), L.Dense(2 * 2 * 16, activation="relu"), L.Reshape((2, 2, 16)),
            L.Conv2DTranspose(16, 3, 2, padding="same"), L.BatchNormalization(momentum=0.9),
            L.ReLU(), L.Conv2DTranspose(8, 3, 2, padding="same", activation="relu"),
            L.Conv2DTranspose(3, 3, padding="same", activation="sigmoid")), True

    for name, make, data, sampling in (("vae", table_nets, table(), Sampling),
                                       ("conv vae", picture_nets, pictures(), KerasSampling)):
        if check.options.only and check.options.only not in name:
            continue
        encoder, decoder, turned = make()
        x = tf.constant(data.astype(np.float32) / (255 if data.dtype == np.uint8 else 1))
        optimizer = keras.optimizers.Adam(3e-3)
        weights = encoder.trainable_weights + decoder.trainable_weights

        @tf.function
        def step():
            with tf.GradientTape() as tape:
                heads = encoder(x, training=True)
                m, v = heads[::-1] if turned else heads
                y = decoder(m + tf.exp(0.5 * v) * tf.random.normal(tf.shape(m)), training=True)
                loss = tf.reduce_mean(tf.reduce_sum(tf.reshape((y - x) ** 2, (ROWS, -1)), 1)) + \
                    0.05 * tf.reduce_mean(tf.reduce_sum(
                        0.5 * (m ** 2 + tf.exp(v) - v - 1), 1))
            optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))

        for _ in range(300):
            step()
        heads = encoder(x, training=False)
        m, v = heads[::-1] if turned else heads
        y = decoder(m, training=False)
        inside = keras.Input(data.shape[1:])
        two = encoder(inside)
        whole = keras.Model(inside, decoder(sampling()(two[::-1] if turned else two)))
        paths = [check.folder / f"keras_{name.replace(' ', '_')}_{part}.onnx"
                 for part in ("enc", "dec", "whole")]
        for label, rows in keras_ways(tf, keras, check, f"keras {name} encoder", encoder,
                                      [data.shape[1:]], paths[0]):
            check.outputs(label, paths[0], [x.numpy()[:rows]], [h.numpy()[:rows] for h in heads])
            for inner, _ in keras_ways(tf, keras, check, f"{label}, decoder", decoder,
                                       [(m.shape[1],)], paths[1]):
                if inner.split()[-1] != label.split()[-1]:
                    continue
                check.outputs(inner, paths[1], [m.numpy()[:rows]], [y.numpy()[:rows]])
                check.audit(label, ["--encoder", str(paths[0]), "--decoder", str(paths[1])], data,
                            m, v, y)
        for label, rows in keras_ways(tf, keras, check, f"keras {name} whole", whole,
                                      [data.shape[1:]], paths[2]):
            if sampling is KerasSampling and rows == 1:
                continue  # its noise is drawn once and for all by the export: a constant
            check.outputs(label, paths[2], [x.numpy()[:rows]], [y.numpy()[:rows]], runtime=False)
            check.audit(label, ["--encoder", str(paths[2])], data, m, v, y)


# ---- JAX ----

def jax_cases(check):
    import jax
    import jax.numpy as jnp
    from flax import nnx
    from jax2onnx import to_onnx
    random = np.random.default_rng(3)

    class Mlp(nnx.Module):
        row = (7,)

        def __init__(self, r):
            self.a, self.b, self.c = nnx.Linear(7, 20, rngs=r), nnx.Linear(20, 20, rngs=r), \
                nnx.Linear(20, 4, rngs=r)
            self.drop = nnx.Dropout(0.2, rngs=r)

        def __call__(self, x):
            return self.c(self.drop(jax.nn.gelu(self.b(nnx.silu(self.a(x))))))

    class Activations(nnx.Module):
        row = (6,)

        def __init__(self, r):
            names = ("relu", "relu6", "elu", "selu", "celu", "gelu", "silu", "softplus", "soft_sign",
                     "sigmoid", "hard_sigmoid", "hard_silu", "hard_tanh", "tanh", "leaky_relu",
                     "log_sigmoid", "mish", "softmax", "log_softmax", "standardize", "squareplus")
            self.functions = [getattr(jax.nn, n) for n in names if hasattr(jax.nn, n)]
            self.functions += [lambda x: jax.nn.gelu(x, approximate=False), jnp.square, jnp.sin,
                               lambda x: jnp.where(x > 0.1, x, 0.3 * x), jnp.abs,
                               lambda x: jnp.sqrt(x * x + 0.5), lambda x: jnp.maximum(x, 1.0),
                               lambda x: jnp.clip(x, -2, 2), lambda x: jnp.tanh(x) ** 3,
                               lambda x: jnp.exp(-x * x),
                               lambda x: jnp.log1p(x * x), lambda x: jnp.expm1(jnp.tanh(x)), jax.scipy.special.erf, jnp.cos,
                               lambda x: jax.lax.rsqrt(1 + x * x), lambda x: 1 / (2 + x * x)]
            self.layers = nnx.List([nnx.Linear(6, 6, rngs=r) for _ in self.functions])

        def __call__(self, x):
            y = x
            for f, layer in zip(self.functions, self.layers):
                y = f(layer(y)) + 0.5 * x
            return y

    class Conv(nnx.Module):
        row = (12, 12, 3)

        def __init__(self, r):
            self.a = nnx.Conv(3, 8, (4, 4), 2, padding="SAME", rngs=r)
            self.norm = nnx.BatchNorm(8, use_running_average=True, rngs=r)
            self.b = nnx.Conv(8, 8, (3, 3), 2, padding=((1, 0), (0, 1)), feature_group_count=2, rngs=r)
            self.c = nnx.Linear(16, 5, rngs=r)
            self.norm.mean.value = jnp.asarray(random.normal(0, 0.3, 8), jnp.float32)
            self.norm.var.value = jnp.asarray(random.uniform(0.5, 2, 8), jnp.float32)

        def __call__(self, x):
            h = nnx.leaky_relu(self.norm(self.a(x)), 0.2)
            h = nnx.relu(self.b(h))
            h = nnx.max_pool(h, window_shape=(2, 2), strides=(2, 2), padding="SAME")
            h = nnx.avg_pool(h, window_shape=(1, 2), strides=(1, 1))
            return self.c(h.reshape(h.shape[0], -1))

    class Transposed(nnx.Module):
        row = (5,)

        def __init__(self, r):
            self.a = nnx.Linear(5, 72, rngs=r)
            self.b = nnx.ConvTranspose(8, 8, (3, 3), (2, 2), padding="SAME", rngs=r)
            self.c = nnx.ConvTranspose(8, 4, (4, 4), (2, 2), padding="VALID", rngs=r)
            self.d = nnx.Conv(4, 3, (3, 3), padding="SAME", rngs=r)
            self.norm = nnx.GroupNorm(8, num_groups=2, rngs=r)

        def __call__(self, x):
            h = nnx.relu(self.a(x)).reshape(-1, 3, 3, 8)
            h = nnx.silu(self.norm(self.b(h)))
            return nnx.sigmoid(self.d(nnx.elu(self.c(h))))

    class Resized(nnx.Module):
        row = (4, 4, 6)

        def __init__(self, r):
            self.a = nnx.Conv(6, 6, (3, 3), padding="SAME", rngs=r)
            self.norm = nnx.LayerNorm(6, rngs=r)

        def __call__(self, x):
            b = x.shape[0]
            h = jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
            h = nnx.relu(self.norm(self.a(h)))
            h = jnp.pad(h, ((0, 0), (1, 1), (2, 0), (0, 0)))
            h = h[:, ::2, 1:9:2]
            return jnp.stack([h.mean((1, 2)), h.std((1, 2)), h.max((1, 2)),
                              jax.nn.logsumexp(h, axis=(1, 2))], 1).reshape(b, -1)

    class Attention(nnx.Module):
        row = (6, 8)

        def __init__(self, r):
            self.norm, self.second = nnx.LayerNorm(8, rngs=r), nnx.RMSNorm(8, rngs=r)
            self.attention = nnx.MultiHeadAttention(2, 8, decode=False, rngs=r)
            self.a, self.b = nnx.Linear(8, 16, rngs=r), nnx.Linear(16, 8, rngs=r)

        def __call__(self, x):
            y = self.norm(x)
            x = x + self.attention(y)
            return x + self.b(jax.nn.gelu(self.a(self.second(x)), approximate=False))

    class ByHand(nnx.Module):
        """Attention of einsums, a causal mask, and positions."""
        row = (6, 8)

        def __init__(self, r):
            self.q, self.k, self.v = (nnx.LinearGeneral(8, (2, 4), rngs=r) for _ in range(3))
            self.o = nnx.LinearGeneral((2, 4), 8, axis=(-2, -1), rngs=r)
            self.places = nnx.Param(jnp.asarray(random.normal(size=(6, 8)), jnp.float32))

        def __call__(self, x):
            x = x + self.places.value
            q, k, v = self.q(x), self.k(x), self.v(x)
            s = jnp.einsum("bqhd,bkhd->bhqk", q, k) / 2
            s = jnp.where(jnp.tril(jnp.ones((6, 6), bool)), s, -1e9)
            y = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(s, -1), v)
            a, b = jnp.split(self.o(y), 2, -1)
            return jnp.concatenate([a * jax.nn.sigmoid(b), b], -1).transpose(0, 2, 1)

    class Signal(nnx.Module):
        row = (16, 3)

        def __init__(self, r):
            self.a = nnx.Conv(3, 6, (5,), 2, padding="SAME", rngs=r)
            self.b = nnx.Conv(6, 6, (3,), padding="CAUSAL", kernel_dilation=2, rngs=r)
            self.c = nnx.ConvTranspose(6, 4, (3,), 2, padding="SAME", rngs=r)

        def __call__(self, x):
            h = nnx.avg_pool(nnx.elu(self.b(nnx.elu(self.a(x)))), window_shape=(2,), strides=(2,))
            return jnp.linalg.norm(self.c(h), axis=1)

    class Volume(nnx.Module):
        row = (6, 6, 6, 2)

        def __init__(self, r):
            self.a = nnx.Conv(2, 4, (3, 3, 3), 2, padding="SAME", rngs=r)
            self.b = nnx.ConvTranspose(4, 3, (3, 3, 3), (2, 2, 2), padding="SAME", rngs=r)

        def __call__(self, x):
            return self.b(nnx.softplus(self.a(x))).mean((1, 2, 3))

    def files(label, f, row, path):
        for way, batch in (("free", "B"), ("fixed", 1)):
            try:
                to_onnx(f, [(batch, *row)], model_name="net", return_mode="file",
                        output_path=str(path))
            except Exception as error:
                print(f"{label} {way}: the exporter fails: {str(error).splitlines()[0][:120]}")
                continue
            yield f"{label} {way}", 3 if way == "free" else 1

    for kind in (Mlp, Activations, Conv, Transposed, Resized, Attention, ByHand, Signal, Volume):
        name = kind.__name__.lower()
        if check.options.only and check.options.only not in name:
            continue
        model = kind(nnx.Rngs(1))
        model.eval()
        path = check.folder / f"jax_{name}.onnx"
        for label, rows in files(f"jax {name}", model, kind.row, path):
            x = random.normal(size=(rows, *kind.row)).astype(np.float32)
            check.outputs(label, path, [x], [np.asarray(model(jnp.asarray(x)))])

    # flax.linen, whose parameters are beside the module, and a whole VAE
    import flax.linen as nn

    class Encoder(nn.Module):
        @nn.compact
        def __call__(self, x):
            h = nn.relu(nn.Conv(8, (3, 3), (2, 2))(x))
            h = nn.gelu(nn.LayerNorm()(nn.Conv(16, (3, 3), (2, 2))(h)))
            h = nn.relu(nn.Dense(16)(h.reshape((h.shape[0], -1))))
            return nn.Dense(3, name="mean")(h), nn.Dense(3, name="logvar")(h)

    class Decoder(nn.Module):
        @nn.compact
        def __call__(self, z):
            h = nn.relu(nn.Dense(2 * 2 * 16)(z)).reshape((-1, 2, 2, 16))
            h = nn.relu(nn.ConvTranspose(16, (3, 3), (2, 2))(h))
            h = nn.relu(nn.ConvTranspose(8, (3, 3), (2, 2))(h))
            return nn.sigmoid(nn.Conv(3, (3, 3))(h))

    class TableEncoder(nn.Module):
        @nn.compact
        def __call__(self, x):
            h = nn.tanh(nn.Dense(32)(nn.tanh(nn.Dense(32)(x))))
            return jnp.split(nn.Dense(8)(h), 2, axis=-1)

    class TableDecoder(nn.Module):
        @nn.compact
        def __call__(self, z):
            return nn.Dense(8)(nn.tanh(nn.Dense(32)(nn.tanh(nn.Dense(32)(z)))))

    for name, encoder, decoder, n, data in (("vae", TableEncoder(), TableDecoder(), 4, table()),
                                            ("conv vae", Encoder(), Decoder(), 3, pictures())):
        if check.options.only and check.options.only not in name:
            continue
        x = jnp.asarray(data.astype(np.float32) / (255 if data.dtype == np.uint8 else 1))
        p = (encoder.init(jax.random.key(0), x), decoder.init(jax.random.key(1), jnp.zeros((1, n))))

        def loss(p, key):
            m, v = encoder.apply(p[0], x)
            y = decoder.apply(p[1], m + jnp.exp(0.5 * v) * jax.random.normal(key, m.shape))
            return ((y - x) ** 2).reshape(ROWS, -1).sum(1).mean() + \
                0.05 * (0.5 * (m ** 2 + jnp.exp(v) - v - 1)).sum(1).mean()

        @jax.jit
        def step(p, first, second, i):
            slope = jax.grad(loss)(p, jax.random.fold_in(jax.random.key(2), i))
            first = jax.tree.map(lambda a, b: 0.9 * a + 0.1 * b, first, slope)
            second = jax.tree.map(lambda a, b: 0.99 * a + 0.01 * b * b, second, slope)
            return jax.tree.map(lambda w, a, b: w - 3e-3 * a / (jnp.sqrt(b) + 1e-8),
                                p, first, second), first, second

        first = second = jax.tree.map(jnp.zeros_like, p)
        for i in range(300):
            p, first, second = step(p, first, second, i)
        m, v = encoder.apply(p[0], x)
        y = decoder.apply(p[1], m)
        paths = [check.folder / f"jax_{name.replace(' ', '_')}_{part}.onnx"
                 for part in ("enc", "dec", "whole")]
        for label, rows in files(f"jax {name} encoder", lambda x: encoder.apply(p[0], x),
                                 data.shape[1:], paths[0]):
            check.outputs(label, paths[0], [np.asarray(x)[:rows]], [m[:rows], v[:rows]])
            for inner, _ in files(f"{label}, decoder", lambda z: decoder.apply(p[1], z), (n,),
                                  paths[1]):
                if inner.split()[-1] != label.split()[-1]:
                    continue
                check.outputs(inner, paths[1], [np.asarray(m)[:rows]], [y[:rows]])
                check.audit(label, ["--encoder", str(paths[0]), "--decoder", str(paths[1])], data,
                            m, v, y)

        def whole(x, noise):  # JAX has its noise as an input
            m, v = encoder.apply(p[0], x)
            return decoder.apply(p[1], m + jnp.exp(0.5 * v) * noise), m, v
        try:
            to_onnx(whole, [("B", *data.shape[1:]), ("B", n)], model_name="net", return_mode="file",
                    output_path=str(paths[2]))
        except Exception as error:
            print(f"jax {name} whole: the exporter fails: {str(error).splitlines()[0][:120]}")
            continue
        check.outputs(f"jax {name} whole", paths[2],
                      [np.asarray(x)[:3], np.zeros((3, n), np.float32)], [y[:3], m[:3], v[:3]])


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser()
    parser.add_argument("which", nargs="*", default=["keras", "jax"])
    parser.add_argument("--program", default=str(root / "build/tests/onnx_run"))
    parser.add_argument("--isovae", default=str(root / "build/isovae"))
    parser.add_argument("--only", help="cases whose name holds this")
    parser.add_argument("--keep", help="folder for the files")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(options.keep or name).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        check = Check(options, folder)
        for which in options.which:
            {"keras": keras_cases, "jax": jax_cases}[which](check)
    print("operators:", " ".join(sorted(check.operators)))
    print(f"{check.done} comparisons, {check.bad} bad; largest deviation {check.worst:.2g}")
    sys.exit(1 if check.bad else 0)


if __name__ == "__main__":
    main()
