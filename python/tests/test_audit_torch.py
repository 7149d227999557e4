"""Audits of live modules of PyTorch, beside the same networks as ONNX files."""

import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

import isovae

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
nn = torch.nn

sys.path.insert(0, str(Path(__file__).parents[2] / "tests/onnx"))
import make_vaes  # noqa: E402


class VAE(nn.Module):
    def __init__(self, d=8, n=3, last=None):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(d, 16), nn.Tanh(), nn.Dropout(0.5))
        self.heads = nn.Linear(16, 2 * n)
        self.net = nn.Sequential(
            nn.Linear(n, 16), nn.Tanh(), nn.Linear(16, d), *([last] * bool(last))
        )

    def encode(self, x):
        mu, logvar = self.heads(self.body(x)).chunk(2, 1)
        return mu, logvar - 2

    def decode(self, z):
        return self.net(z)


@pytest.fixture
def x():
    return torch.tensor(np.load(Path(make_vaes.HERE) / "table.npy"))


@pytest.fixture
def vae():
    torch.manual_seed(0)
    return VAE()


def live(vae, x, **options):
    return isovae.audit(vae.encode, vae.decode, x, **{"iwae_draws": 0, **options})


def same(a, b, limit=1e-4):
    """Two reports: beta, norms, importance, optimality, stationarity, Gram matrices (by cosines)."""
    a, b = a.to_dict(), b.to_dict()
    assert a["active_dim"] == b["active_dim"] > 0
    assert a["audit"]["beta_estimate"] == pytest.approx(b["audit"]["beta_estimate"], rel=limit)
    for key in ("beta", "rate_nats", "elbo_nats"):
        assert a[key] == pytest.approx(b[key], rel=limit), key
    for key in ("mean_abs_cosine", "max_abs_cosine", "cost_nats"):
        assert a["orthogonality"][key] == pytest.approx(
            b["orthogonality"][key], rel=limit, abs=1e-6
        )
    for one, other in zip(a["latents"], b["latents"]):
        assert one["index"] == other["index"]
        keys = "optimality_mean norm_mean norm_sd importance variance_y stationarity_mean".split()
        for key in keys if one["active"] else []:
            assert one[key] == pytest.approx(other[key], rel=limit, abs=1e-6), key
    assert [each["code"] for each in a["warnings"]] == [each["code"] for each in b["warnings"]]


@pytest.mark.parametrize("name", ["mlp", "conv", "attention", "nhwc", "bce", "sigma"])
def test_live_and_files_agree(name, tmp_path, monkeypatch):
    pytest.importorskip("onnx", reason="torch.onnx.export needs onnx, which is not installed")
    case = {**make_vaes.CASES[name], "steps": 250}
    torch.manual_seed(11)
    x = make_vaes.network_units(case, make_vaes.DATA[case["data"]]())
    x = x.reshape(-1, 1, 8, 8) if case["data"] == "grey" else x
    encoder, decoder = case["networks"]()
    make_vaes.train(case, encoder, decoder, x)
    monkeypatch.setattr(make_vaes, "HERE", str(tmp_path))
    make_vaes.export(name, case, encoder, decoder, x)
    options = {"loss": "bce" if name == "bce" else "sse", "iwae_draws": 0}
    options["layout"] = "NHWC" if name == "nhwc" else None
    files = isovae.audit(tmp_path / f"{name}_enc.onnx", tmp_path / f"{name}_dec.onnx", x, **options)
    options["head"] = "sigma" if name == "sigma" else "logvar"
    encoder.train()
    report = isovae.audit(encoder, decoder, x, width_first=name == "nhwc", **options)
    assert encoder.training and not decoder.training  # as they were
    same(report, files)
    if name == "bce":
        assert any("saturated" in note for note in report["audit"]["notes"])


def test_jacobian_products_are_right(vae, x):
    from isovae._live import Networks, Torch

    vae.eval()
    backend = Torch(vae.encode, vae.decode)
    networks = Networks(
        backend,
        (8,),
        None,
        head=None,
        width_first=False,
        names=(None, None),
        logits=False,
        bce=False,
        out_affine=(1.0, 0.0),
    )
    networks.probe(x.numpy())
    z = networks.encode(x[:5].numpy())[0]
    rng = np.random.default_rng(0)
    v, g = rng.normal(size=(2, 5, 3)), rng.normal(size=(5, 8))
    forward = networks.pushforward(z, v)
    backward = networks.pullback(z, g)
    step = 1e-2
    for t in range(2):
        change = networks.decode(z + step * v[t]) - networks.decode(z - step * v[t])
        assert forward[t] == pytest.approx(change / (2 * step), abs=1e-3)
        assert (forward[t] * g).sum(1) == pytest.approx((v[t] * backward).sum(1), abs=1e-5)
    backend.one_by_one = True
    assert networks.pushforward(z, v) == pytest.approx(forward, rel=1e-5, abs=1e-6)
    backend.one_by_one, backend.chunk_size = False, 1
    assert networks.pushforward(z, v) == pytest.approx(forward, rel=1e-5, abs=1e-6)


def test_forms_of_an_encoder(vae, x):
    reference = live(vae, x)

    def both(x):
        return vae.heads(vae.body(x)) - torch.tensor([0.0] * 3 + [2.0] * 3)

    def distribution(x):
        mu, logvar = vae.encode(x)
        return torch.distributions.Normal(mu, (logvar / 2).exp())

    def named(x):
        mu, logvar = vae.encode(x)
        return {"m": mu, "v": logvar.exp()}

    def turned(x):
        mu, logvar = vae.encode(x)
        return logvar / 2, mu

    same(isovae.audit(both, vae.decode, x, iwae_draws=0), reference)
    same(isovae.audit(distribution, vae.decode, x, iwae_draws=0), reference)
    same(
        isovae.audit(named, vae.decode, x, mu="m", logvar="v", head="variance", iwae_draws=0),
        reference,
    )
    same(
        isovae.audit(turned, vae.decode, x, width_first=True, head="logsigma", iwae_draws=0),
        reference,
    )
    assert not any(part.training is False for part in vae.modules())  # found inside the functions


def test_codes_of_any_shape_and_double_modules(vae, x):
    reference = live(vae, x)
    spatial = isovae.audit(
        lambda x: tuple(each.reshape(-1, 3, 1, 1) for each in vae.encode(x)),
        lambda z: vae.decode(z.flatten(1)),
        x,
        iwae_draws=0,
    )
    same(spatial, reference)
    vae.double()
    same(live(vae, x.numpy()), reference)


def test_logits_and_probabilities(x):
    torch.manual_seed(1)
    vae = VAE()
    unit = torch.sigmoid(x)
    logits = live(vae, unit, loss="bce", logits=True)
    vae.net.append(nn.Sigmoid())
    same(live(vae, unit, loss="bce"), logits)
    vae.net.append(nn.Threshold(0.45, 0.0))
    notes = live(vae, unit, loss="bce")["audit"]["notes"]
    share = [note for note in notes if "saturated" in note][0]
    assert float(share.split("; ")[1].split(" %")[0]) > 5
    with pytest.raises(ValueError, match="logits=True"):
        live(VAE(), unit, loss="bce")


def test_a_decoder_without_forward_derivatives_goes_through_onnx(vae, x):
    pytest.importorskip("onnx", reason="torch.onnx.export needs onnx, which is not installed")

    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            return 2 * ctx.saved_tensors[0] * g

    report = isovae.audit(vae.encode, lambda z: Square.apply(vae.net(z)), x, iwae_draws=0)
    assert any("torch.onnx.export" in note for note in report["audit"]["notes"])
    same(report, isovae.audit(vae.encode, lambda z: vae.net(z) ** 2, x, iwae_draws=0))

    class NoFile(Square):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return torch.linalg.svd(x[:, :, None])[1] * x

    with pytest.raises(isovae.IsoVAERuntimeError, match=r"torch.onnx.export fails, too"):
        isovae.audit(vae.encode, lambda z: NoFile.apply(vae.net(z)), x)


class Refusal(Exception):
    pass


def test_an_exception_in_a_network_is_raised(vae, x):
    calls = []

    def late(z):
        calls.append(1)
        if len(calls) > 8:
            raise Refusal("from decode")
        return vae.decode(z)

    with pytest.raises(Refusal, match="from decode"):
        isovae.audit(vae.encode, late, x)
    assert vae.training
    assert len(calls) < 12  # none is called after it

    def at_once(x):
        raise Refusal("from encode")

    with pytest.raises(Refusal, match="from encode"):
        isovae.audit(at_once, vae.decode, x)
    live(vae, x)  # all works afterwards


def test_outputs_that_cannot_be(vae, x):
    with pytest.raises(ValueError, match="decode gives shape"):
        isovae.audit(vae.encode, lambda z: vae.decode(z)[:, :5], x)
    with pytest.raises(ValueError, match="it must be"):
        isovae.audit(lambda x: "codes", vae.decode, x)
    with pytest.raises(ValueError, match="mean of shape"):
        isovae.audit(lambda x: (vae.encode(x)[0], x), vae.decode, x)
    with pytest.raises(ValueError, match="name the mean"):
        isovae.audit(lambda x: {"a": x, "b": x}, vae.decode, x)
    with pytest.raises(ValueError, match="decode gives a value that is not finite"):
        isovae.audit(vae.encode, lambda z: vae.decode(z) / 0, x)
    with pytest.raises(ValueError, match="it draws"):
        isovae.audit(lambda x: (torch.randn(len(x), 3), vae.encode(x)[1]), vae.decode, x)
    with pytest.raises(ValueError, match="other numbers for the same codes"):
        isovae.audit(vae.encode, lambda z: vae.decode(z) + torch.rand(1), x)
    with pytest.raises(TypeError, match="decode"):
        isovae.audit(vae.encode, None, x)
    with pytest.raises(TypeError, match="encode"):
        isovae.audit(3, vae.decode, x, backend="torch")
    with pytest.raises(ValueError, match="backend"):
        isovae.audit(vae.encode, vae.decode, x, backend="chainer")
    calls = []

    def late(z):
        calls.append(1)
        return vae.decode(z) * (float("nan") if len(calls) > 8 else 1)

    with pytest.raises(ValueError, match="not finite"):
        isovae.audit(vae.encode, late, x)


def test_nothing_of_the_modules_changes(vae, x):
    vae.body.append(nn.BatchNorm1d(16))
    vae.body[0].eval()
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    modes = [part.training for part in vae.modules()]
    live(vae, x)
    assert all(torch.equal(value, before[name]) for name, value in vae.state_dict().items())
    assert [part.training for part in vae.modules()] == modes
    assert all(parameter.grad is None for parameter in vae.parameters())


def test_ctrl_c(vae, x):
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    calls = []

    def decode(z):
        calls.append(1)
        if len(calls) == 8:
            os.kill(os.getpid(), signal.SIGINT)
        return vae.decode(z)

    try:
        with pytest.raises(KeyboardInterrupt):
            isovae.audit(vae.encode, decode, x)
    finally:
        signal.signal(signal.SIGINT, previous)
    assert len(calls) < 200 and vae.training


def test_checkpoints_of_one_module(x):
    torch.manual_seed(0)
    vae = VAE()
    states = []
    for _ in range(2):
        states.append({name: value.clone() for name, value in vae.state_dict().items()})
        with torch.no_grad():
            for parameter in vae.parameters():
                parameter *= 1.3

    def load():
        for step, state in enumerate(states):
            vae.load_state_dict(state)
            yield f"step {step}", vae.encode, vae.decode

    table = isovae.audit_checkpoints(load, x, iwae_draws=0)
    assert table.names == ["step 0", "step 1"]
    assert table["rate_nats"][0] != table["rate_nats"][1]
