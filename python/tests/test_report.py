import json
import subprocess
import sys

import numpy as np
import pytest


def test_text_and_dict(model):
    report = model.report_
    assert str(report) == repr(report) == report.text
    assert "60 validation rows of memory, 4 features" in report.text
    content = report.to_dict()
    assert content["format"] == "isovae-report/1"
    json.dumps(content)
    content["latents"].clear()
    assert len(report["latents"]) == 3  # a copy was given
    assert report["n_samples"] == 60


def test_remedies_are_parameters(model):
    assert "--" not in " ".join(model.report_.warnings)


def test_frame(model):
    frame = model.report_.to_frame()
    assert len(frame) == 3 and {"variance_y", "share", "kl_nats", "active"} <= set(frame.columns)
    assert sorted(frame.index) == [0, 1, 2]


def test_page(model, tmp_path):
    page = model.report_.to_html()
    assert page.lstrip().startswith("<!") and "<svg" in page
    assert model.report_.to_html(tmp_path / "r.html") is None
    assert (tmp_path / "r.html").read_text(encoding="utf-8") == page


def test_notebook(model, curve):
    import pandas as pd

    from isovae import IsoVAE

    rich = model.report_._repr_html_()
    assert "<table" in rich and "optimality" in rich
    assert rich.count("<tr>") == 1 + model.n_active_ or rich.count("<tr") >= model.n_active_
    frame = pd.DataFrame(curve, columns=["<b>", "y", "z", "w"])
    named = IsoVAE(2, steps=50, random_state=0).fit(frame)
    assert "<b>y" not in named.report_._repr_html_()
    assert "+<b>" not in named.report_._repr_html_() and "-<b>" not in named.report_._repr_html_()


def test_plots(model):
    from matplotlib import pyplot

    report = model.report_
    bars = report.plot_spectrum().patches
    values = [item["variance_y"] for item in report["latents"] if item["active"]]
    np.testing.assert_allclose([bar.get_height() for bar in bars], values)
    report.plot_loadings(0)
    with pytest.raises(ValueError, match="no latent 3"):
        report.plot_loadings(3)
    for plot in (report.plot_loadings, report.plot_optimality, report.plot_rate):
        fig, ax = pyplot.subplots()
        assert plot(ax=ax) is ax
    pyplot.close("all")


def test_matplotlib_comes_lazily():
    code = "import sys, isovae; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_loadings_follow_the_model(model, curve):
    """In the model's order, and as differences of the decoder say."""
    z = model.transform(curve)
    report = model.make_report(curve)
    for j in range(model.n_active_):
        up, down = z.copy(), z.copy()
        up[:, j] += 0.01
        down[:, j] -= 0.01
        moved = (model.inverse_transform(up) - model.inverse_transform(down)).mean(axis=0)
        cosine = moved @ report.loadings[j] / np.linalg.norm(moved)
        assert cosine / np.linalg.norm(report.loadings[j]) > 0.9
    assert (report.loadings_rms + 1e-9 >= np.abs(report.loadings)).sum() >= 4 * model.n_active_


def test_left_out(curve):
    from isovae import IsoVAE

    est = IsoVAE(2, steps=50, report=False, random_state=0).fit(curve)
    assert not hasattr(est, "report_") and not hasattr(est, "components_")
    with pytest.raises(ValueError, match="rows"):
        est.make_report(curve, rows="some")
