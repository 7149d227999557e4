"""sweep, stability, drift, prune and export_onnx: thin over the library, and what they give back."""

import json
import os
import pickle
import signal
import threading

import numpy as np
import pandas as pd
import pytest

import isovae
from isovae import IsoVAE, IsoVAEDetector, IsoVAEPyOD


@pytest.fixture(scope="module")
def plane():
    """Two directions in six features, and noise."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(700, 2)) @ rng.normal(size=(2, 6)) + rng.normal(size=(700, 6)) / 10


@pytest.fixture(scope="module")
def fitted(plane):
    return IsoVAE(5, steps=1200, random_state=0, report=False).fit(plane)


def test_sweep(plane):
    told = []
    result = isovae.sweep(
        plane,
        IsoVAE(4, random_state=0, arch="mlp:16", report=True),
        target="active=2",
        points=5,
        steps=60,
        callback=lambda *at: told.append(at),
    )
    assert result.found_ and result.n_active_ == 2 and result.beta_ > 0
    est = result.estimator_
    assert isinstance(est, IsoVAE) and est.beta == est.beta_ == result.beta_
    assert est.transform(plane).shape == (700, 4)
    assert est.n_active_ == 2 if result.reached_ else True
    assert len(result.to_frame()) == len(result["curve"]) >= 5
    assert result.to_html().lstrip().startswith("<!") and "active" in str(result)
    assert "<pre>" in result._repr_html_()
    assert result.to_dict()["format"] == "isovae-sweep/1"
    json.dumps(result.to_dict())
    pickle.loads(pickle.dumps(result))
    assert told and all(len(at) == 3 for at in told)
    from matplotlib import pyplot

    assert result.plot_curve() is not None
    pyplot.close("all")


def test_sweep_that_finds_nothing(plane):
    result = isovae.sweep(
        plane,
        IsoVAE(2, random_state=0, arch="mlp:8"),
        target="active=2",
        points=3,
        steps=5,
        beta_range=(1e4, 1e3),
        retrain=False,
    )
    assert result.estimator_ is None and result.reached_ is None
    if not result.found_:
        assert np.isnan(result.beta_) and result.n_active_ == 0
    for parameters, message in (
        (dict(target="speed=3"), "target"),
        (dict(target=3), "target"),
        (dict(points=0), "points"),
        (dict(beta_range=(1, 2)), "beta_from"),
        (dict(beta_range=(1, 2, 3)), "beta_range"),
        (dict(state=3), "state"),
    ):
        with pytest.raises(ValueError, match=message):
            isovae.sweep(plane, **parameters)
    with pytest.raises(TypeError, match="IsoVAE"):
        isovae.sweep(plane, IsoVAEPyOD())


def test_sweep_goes_on(plane, tmp_path):
    """Ctrl-C leaves what is finished in the state, and the rest is done later."""
    state = tmp_path / "s"
    est = IsoVAE(3, random_state=0, arch="mlp:16")
    ask = lambda **more: isovae.sweep(
        plane, est, points=4, steps=200, retrain=False, beta_range=(10, 0.1), **more
    )
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupt(stage, done, total):
        if done > 0.7 * total and not state.exists():
            raise AssertionError("no state yet")
        if done > 0.7 * total:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    try:
        with pytest.raises(KeyboardInterrupt):
            ask(state=state, callback=interrupt)
    finally:
        signal.signal(signal.SIGINT, previous)
    assert state.exists()
    assert ask(state=state).to_dict()["curve"] == ask().to_dict()["curve"]
    assert not state.exists()


def test_stability(plane, tmp_path):
    est = IsoVAE(3, steps=500, random_state=4, arch="mlp:16")
    result = isovae.stability(plane, est, runs=2, folder=tmp_path / "runs")
    detector = IsoVAEDetector(contamination=0.1, preset=None, steps=60, random_state=0)
    central = isovae.stability(plane, detector, runs=2).estimator_
    assert (central.predict(plane) == -1).sum() == 70
    assert result["n_runs"] == 2 and result.summary_ in result.text.replace("\n", " ")
    assert len(list((tmp_path / "runs").glob("run-*"))) == 2
    assert result.estimator_.transform(plane).shape == (700, 3)
    assert result.estimator_.seed_ in (4, 5)
    assert {"latents", "match_mean"} <= set(result.to_frame().columns)
    assert "<html" in result.to_html()
    made = []
    again = isovae.stability(
        plane, est, runs=2, folder=tmp_path / "runs", callback=lambda *at: made.append(at[0])
    )
    assert not any("training" in stage for stage in made)  # they were there
    assert again.to_dict()["units"] == result.to_dict()["units"]
    for parameters, message in ((dict(runs=1), "runs"), (dict(match=0.0), "match")):
        with pytest.raises(ValueError, match=message):
            isovae.stability(plane, est, **parameters)


def test_drift(plane, fitted):
    rng = np.random.default_rng(5)
    later = rng.permuted(plane, axis=0)[:300]  # relations broken, columns as before
    result = isovae.drift(fitted, plane, later)
    assert result.found_ and result["reference"]["held_out"]
    frame = result.to_frame()
    assert {"what", "found", "p_adjusted"} <= set(frame.columns)
    assert frame.loc[frame.what == "residual", "found"].all()
    assert "isovae-drift/1" == result.to_dict()["format"]
    assert not isovae.drift(fitted, plane[:350], plane[350:], alpha=1e-4).found_
    with pytest.raises(ValueError, match="alpha"):
        isovae.drift(fitted, plane, later, alpha=2.0)
    with pytest.raises(ValueError, match="3 features"):
        isovae.drift(fitted, plane, later[:, :3])
    frame = pd.DataFrame({"a": plane[:, 0], "k": np.where(plane[:, 1] > 0, "u", "v")})
    words = IsoVAEDetector(steps=60, random_state=0).fit(frame)
    swapped = frame.assign(k="u")
    assert isovae.drift(words, frame, swapped).found_


def test_prune(plane, fitted):
    assert fitted.n_active_ < 5
    small = isovae.prune(fitted, plane)
    assert small.n_components_ == small.n_active_ == fitted.n_active_ and fitted.n_components_ == 5
    assert small.pruned_["latents"] == 5 and small.pruned_["rows"] == 700
    assert small.pruned_["change_rms"] < 0.05 * small.pruned_["output_sd"]
    np.testing.assert_allclose(
        small.inverse_transform(small.transform(plane)),
        fitted.inverse_transform(fitted.transform(plane)),
        atol=0.2,
    )
    np.testing.assert_allclose(small.score_samples(plane), fitted.score_samples(plane), atol=1)
    assert set(isovae.prune(fitted).pruned_) == {
        "latents",
        "kept",
        "parameters",
        "kept_parameters",
        "rows",
    }
    assert small.get_feature_names_out().shape == (small.n_active_,)
    pickle.loads(pickle.dumps(small))


def test_export(plane, fitted, tmp_path):
    paths = isovae.export_onnx(fitted, tmp_path / "onnx")
    assert set(paths) == {"encoder", "decoder", "scorer"}
    for path in paths.values():
        assert os.path.getsize(path) > 100
    images = np.random.default_rng(0).uniform(size=(60, 16, 16))
    ssim = IsoVAE(2, loss="ssim", beta=1e-3, steps=5, report=False).fit(images)
    with pytest.warns(UserWarning, match="no scorer.onnx"):
        assert "scorer" not in isovae.export_onnx(ssim, tmp_path / "ssim")
    detector = IsoVAEDetector(steps=20, random_state=0).fit(plane)
    paths = isovae.export_onnx(detector, tmp_path / "three")
    assert "member0" in paths["encoder"] and os.path.exists(paths["scorer"])
    with pytest.raises(isovae.IsoVAEIOError):
        isovae.export_onnx(fitted, "/proc/nowhere")
