"""Audits of functions of JAX, beside those of the same network in PyTorch where it is installed."""

import numpy as np
import pytest

import isovae

jax = pytest.importorskip("jax", reason="JAX is not installed")


@pytest.fixture(scope="module")
def weights():
    rng = np.random.default_rng(0)
    sizes = [(8, 16), (16, 6), (3, 16), (16, 8)]
    return [(rng.normal(size=size) / np.sqrt(size[0])).astype(np.float32) for size in sizes]


@pytest.fixture(scope="module")
def x():
    return (np.random.default_rng(1).normal(size=(300, 8)) * 2).astype(np.float32)


def networks(weights, tanh):
    def encode(x):
        h = tanh(x @ weights[0]) @ weights[1]
        return h[:, :3], h[:, 3:] - 2

    def decode(z):
        return tanh(z @ weights[2]) @ weights[3]

    return encode, decode


def test_jax(weights, x):
    encode, decode = networks([jax.numpy.asarray(w) for w in weights], jax.numpy.tanh)
    report = isovae.audit(encode, decode, x, backend="jax", iwae_draws=0)
    again = isovae.audit(encode, decode, jax.numpy.asarray(x), iwae_draws=0)
    assert again.to_dict() == report.to_dict()
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    encode, decode = networks([torch.tensor(w) for w in weights], torch.tanh)
    other = isovae.audit(encode, decode, x, backend="torch", iwae_draws=0)
    assert report["rate_nats"] == pytest.approx(other["rate_nats"], rel=1e-4)
    assert report["beta"] == pytest.approx(other["beta"], rel=1e-4)
    for one, two in zip(report["latents"], other["latents"]):
        for key in ("optimality_mean", "norm_mean", "importance", "stationarity_mean"):
            assert one[key] == pytest.approx(two[key], rel=1e-4), key


def test_bce_and_errors(weights, x):
    encode, decode = networks([jax.numpy.asarray(w) for w in weights], jax.numpy.tanh)
    unit = 1 / (1 + np.exp(-x))
    logits = isovae.audit(
        encode, decode, unit, backend="jax", loss="bce", logits=True, iwae_draws=0
    )
    report = isovae.audit(
        encode, lambda z: jax.nn.sigmoid(decode(z)), unit, backend="jax", loss="bce", iwae_draws=0
    )
    assert report["elbo_nats"] == pytest.approx(logits["elbo_nats"], rel=1e-5)
    with pytest.raises(ValueError, match="decode gives shape"):
        isovae.audit(encode, lambda z: z, x, backend="jax")
