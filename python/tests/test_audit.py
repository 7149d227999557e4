"""Audits of ONNX files, and what an audit refuses. Live networks: test_audit_torch.py, _jax.py."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import isovae

ONNX = Path(__file__).parents[2] / "tests/onnx"


@pytest.fixture(scope="module")
def table():
    return np.load(ONNX / "table.npy")


def pair(name):
    return ONNX / f"{name}_enc.onnx", ONNX / f"{name}_dec.onnx"


@pytest.fixture(scope="module")
def report(table):
    return isovae.audit(*pair("mlp"), table, iwae_draws=0)


def test_files_as_the_reference_says(report):
    """Optimality and beta as a computation in PyTorch gave them (tests/onnx/make_vaes.py)."""
    reference = np.load(ONNX / "mlp.npz")
    content = report.to_dict()
    true_beta = reference["numbers"][0]
    assert content["audit"]["beta_estimate"] == pytest.approx(true_beta, rel=0.1)
    known = isovae.audit(*pair("mlp"), table_of("mlp"), beta=true_beta, iwae_draws=0)
    latents = sorted(known.to_dict()["latents"], key=lambda each: each["index"])
    found = [each["optimality_mean"] for each in latents if each["active"]]
    active = [each["index"] for each in latents if each["active"]]
    assert found == pytest.approx(reference["optimality"][active], rel=1e-3)


def table_of(name):
    return np.load(ONNX / ("table.npy" if name == "mlp" else "grey.npy"))


def test_units_of_beta(table):
    mean = isovae.audit(*pair("mlp"), table, beta=0.05, loss_scale="mean", iwae_draws=0)
    assert mean["beta"] == pytest.approx(0.4)
    half = isovae.audit(*pair("mlp"), table, beta=0.8, loss_scale="half-sum", kl_scale="mean")
    assert half["beta"] == pytest.approx(2 * 0.8 / 4)


def test_a_report_in_all_its_forms(report, tmp_path):
    assert "latents carry information" in str(report)
    assert "<table" in report._repr_html_()
    report.to_html(tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size > 10_000
    assert len(report.to_frame()) == 4
    assert report.loadings.shape == (4, 8)
    report.plot_spectrum()
    plt.close("all")


def test_pictures_lie_as_they_should():
    """The same pictures as bytes and as the networks' numbers, channels first and last."""
    x = np.load(ONNX / "colour.npy")
    seen = x / 255 * 2 - 1
    a = isovae.audit(*pair("nhwc"), x, input_range=(-1, 1), iwae_draws=0)
    b = isovae.audit(*pair("nhwc"), seen, iwae_draws=0)
    assert a["rate_nats"] == pytest.approx(b["rate_nats"], rel=1e-6)
    assert a["audit"]["reconstruction"]["error"] < 0.2 * a["audit"]["reconstruction"]["mean"]
    grey = np.load(ONNX / "grey.npy")
    first = isovae.audit(*pair("attention"), grey[:, None], mean=0.3, std=0.25, iwae_draws=0)
    flat = isovae.audit(
        *pair("attention"),
        grey.reshape(-1, 64),
        image_shape=(8, 8),
        mean=0.3,
        std=0.25,
        iwae_draws=0,
    )
    assert first["rate_nats"] == flat["rate_nats"]
    assert "misread" not in [each["code"] for each in first["warnings"]]


def test_one_file_with_the_sampling_inside(table):
    report = isovae.audit(ONNX / "whole.onnx", None, table, iwae_draws=0)
    assert any("sampling" in note for note in report["audit"]["notes"])


def test_names_of_a_frame(table):
    frame = pd.DataFrame(table, columns=[f"sensor {i}" for i in range(8)])
    report = isovae.audit(*pair("mlp"), frame, iwae_draws=0)
    assert report.feature_names[3] == "sensor 3"
    assert report["latents"][0]["loadings"][0]["feature"].startswith("sensor")


def test_equal_calls_give_equal_numbers(table):
    one = isovae.audit(*pair("mlp"), table, n_jobs=1, iwae_draws=0).to_dict()
    two = isovae.audit(*pair("mlp"), table, n_jobs=2, iwae_draws=0).to_dict()
    assert one == two


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"beta": -1}, ValueError, "beta"),
        ({"beta": 1, "loss_scale": "average"}, ValueError, "loss_scale"),
        ({"beta": 1, "kl_scale": "average"}, ValueError, "kl_scale"),
        ({"loss": "nothing"}, ValueError, "loss"),
        ({"head": "width"}, ValueError, "head"),
        ({"layout": "HWC"}, ValueError, "layout"),
        ({"mean": 0.5}, ValueError, "std"),
        ({"mean": 0.5, "std": 0}, ValueError, "std"),
        ({"mean": [1, 2, 3], "std": [1, 1, 1]}, ValueError, "mean"),
        ({"input_range": (1, 0)}, ValueError, "input_range"),
        ({"output_range": (0, np.inf)}, ValueError, "output_range"),
        ({"image_shape": (3, 3)}, ValueError, "image_shape"),
        ({"feature_names": ["a"]}, ValueError, "feature_names"),
        ({"backend": "torch"}, ValueError, "paths"),
        ({"loss": "bce"}, ValueError, "0 to 1"),
        ({"logvar": "absent"}, ValueError, "logvar"),
    ],
)
def test_what_cannot_be(table, change, error, text):
    with pytest.raises(error, match=text):
        isovae.audit(*pair("mlp"), table, **change)


def test_rows_that_cannot_be(table):
    with pytest.raises(ValueError, match="not finite"):
        isovae.audit(*pair("mlp"), np.where(table > 1, np.nan, table))
    with pytest.raises(ValueError, match="two rows"):
        isovae.audit(*pair("mlp"), table[:1])
    with pytest.raises(ValueError, match="numbers"):
        isovae.audit(*pair("mlp"), table.astype(str))
    with pytest.raises(ValueError, match="features"):
        isovae.audit(*pair("mlp"), table[:, :5])
    with pytest.raises(OSError, match="absent"):
        isovae.audit(ONNX / "absent.onnx", pair("mlp")[1], table)
    with pytest.raises(TypeError, match="both be paths"):
        isovae.audit(pair("mlp")[0], lambda z: z, table)


def test_checkpoints(table, tmp_path):
    table_of_three = isovae.audit_checkpoints(
        [("30 steps", *pair("short")), ("end", lambda: pair("mlp")), pair("collapsed")],
        table,
        beta=0.05,
        loss_scale="mean",
        iwae_draws=0,
    )
    assert table_of_three.names == ["30 steps", "end", "2"]
    rows = table_of_three.to_dict()
    assert rows[1]["active"] == 3 and rows[2]["active"] == 0
    assert rows[1]["optimality"] == pytest.approx(1, abs=0.06)
    assert abs(rows[0]["optimality"] - 1) > abs(rows[1]["optimality"] - 1)
    assert rows[2]["optimality"] is None
    frame = table_of_three.to_frame()
    assert list(frame.index) == table_of_three.names and frame.loc["end", "active"] == 3
    assert str(table_of_three).splitlines()[0].startswith("checkpoint")
    assert table_of_three._repr_html_().count("<tr>") == 4
    assert len(table_of_three.reports) == len(table_of_three) == 3
    ax = table_of_three.plot("optimality")
    assert len(ax.lines[0].get_ydata()) == 3
    plt.close("all")
    with pytest.raises(ValueError, match="column"):
        table_of_three.plot("nothing")


def test_checkpoints_that_cannot_be(table):
    with pytest.raises(ValueError, match="no checkpoints"):
        isovae.audit_checkpoints([], table)
    with pytest.raises(TypeError, match="checkpoint 0"):
        isovae.audit_checkpoints([1], table)
    with pytest.raises(OSError, match="absent"):
        isovae.audit_checkpoints({"a": ("absent.onnx", "absent.onnx")}, table)


def test_means_alone_and_a_decoder_alone(table):
    encoder, decoder = pair("mlp")
    means = isovae.audit(encoder, decoder, table, means_only=True)
    assert means["audit"]["unknown"] and means["beta"] is None
    assert [warning["code"] for warning in means["warnings"]].count("no_width") == 1
    assert "no_width" in str(means.to_dict()) and means.to_html().startswith("<!DOCTYPE html>")
    alone = isovae.audit(None, decoder, table)
    for report in (means, alone):
        assert "ELBO" not in report._repr_html_()
        assert len(report.to_frame()) == report["latent_dim"]
        report.plot_spectrum()
        plt.close("all")
    assert alone["n_samples"] == 1000 and alone["latent_dim"] == means["latent_dim"]
    with pytest.raises(isovae.IsoVAEValueError, match="width"):
        isovae.audit(None, decoder, table, beta=1.0)
    with pytest.raises(TypeError, match="paths"):
        isovae.audit(None, None, table, backend="onnx")
    with pytest.raises(TypeError, match="both"):
        isovae.audit(None, lambda z: z, table)
