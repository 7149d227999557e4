import copy
import pickle
import threading

import numpy as np
import pytest

import isovae
from isovae import IsoVAE


def test_attributes(model, curve):
    assert model.n_components_ == 3 and model.n_features_in_ == 4
    assert 1 <= model.n_active_ <= 3
    assert model.explained_variance_.shape == (3,)
    assert (np.diff(model.explained_variance_) <= 0).all()
    ratio = model.explained_variance_ratio_
    assert ratio.shape == (3,) and (ratio >= 0).all() and 0.5 < ratio.sum() <= 1
    assert model.components_.shape == (3, 4) and np.isfinite(model.components_).all()
    assert model.optimality_.shape == (3,)
    assert np.isfinite(model.optimality_).sum() == model.n_active_
    assert model.beta_ > 0 and model.seed_ == 3
    assert isovae.__version__.count(".") == 2


def test_coordinates(model, curve):
    z = model.transform(curve)
    np.testing.assert_array_equal(z, model.fit_transform(curve))  # the same seed
    x = model.inverse_transform(z)
    assert np.mean((x - curve) ** 2) < 0.05 * curve.var(axis=0).sum()
    y = model.transform_isometric(curve)
    np.testing.assert_allclose(y.var(axis=0) + model.beta_ / 2, model.explained_variance_, rtol=0.1)
    np.testing.assert_allclose(model.inverse_transform_isometric(y), x, atol=1e-5)
    # equal steps of the first y are equal distances in the data
    walk = np.zeros((9, 3))
    walk[:, 0] = np.linspace(*np.quantile(y[:, 0], [0.1, 0.9]), 9)
    steps = np.linalg.norm(np.diff(model.inverse_transform_isometric(walk), axis=0), axis=1)
    assert steps.std() / steps.mean() < 0.35


def test_dtypes_and_layouts(model, curve):
    z = model.transform(curve)
    assert z.dtype == np.float64
    single = model.transform(curve.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, z, atol=1e-4)
    assert model.inverse_transform(single).dtype == np.float32
    np.testing.assert_array_equal(model.transform(np.asfortranarray(curve)), z)
    np.testing.assert_array_equal(model.transform(curve[::-1]), z[::-1])
    np.testing.assert_array_equal(model.score_samples(curve[::3]), model.score_samples(curve)[::3])
    same = np.broadcast_to(curve[0], (5, 4))
    np.testing.assert_array_equal(model.transform(same), z[[0] * 5])
    assert model.transform(curve.astype(int)).shape == (600, 3)
    np.testing.assert_array_equal(
        IsoVAE(2, steps=50, random_state=0, report=False)
        .fit(np.asfortranarray(curve))
        .model_.to_bytes(),
        IsoVAE(2, steps=50, random_state=0, report=False).fit(curve).model_.to_bytes(),
    )


def test_scores(model, curve):
    scores = model.score_samples(curve)
    assert scores.shape == (600,) and np.isfinite(scores).all()
    assert model.score(curve) == pytest.approx(scores.mean())
    far = model.score_samples(curve + 3)
    assert (far < scores.min()).mean() > 0.9  # off the manifold: less probable
    for estimate in ("posterior", "logdet", "laplace"):
        assert not np.array_equal(model.score_samples(curve, estimate), scores)
    with pytest.raises(ValueError, match="elbo, posterior, logdet or laplace"):
        model.score_samples(curve, "best")


def test_threads_give_the_same(curve):
    many = np.tile(curve, (60, 1))
    one = IsoVAE(2, steps=100, random_state=0, n_jobs=1).fit(curve)
    two = IsoVAE(2, steps=100, random_state=0, n_jobs=2).fit(curve)
    assert one.model_.to_bytes() == two.model_.to_bytes()
    np.testing.assert_array_equal(one.score_samples(many), two.score_samples(many))
    np.testing.assert_array_equal(one.transform(many), two.transform(many))
    out = {}
    threads = [
        threading.Thread(target=lambda i=i: out.update({i: one.score_samples(many)}))
        for i in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(4):
        np.testing.assert_array_equal(out[i], out[0])


def test_random_state(curve):
    bytes_of = lambda seed: IsoVAE(2, steps=20, report=False, random_state=seed).fit(curve)
    assert bytes_of(5).model_.to_bytes() == bytes_of(5).model_.to_bytes()
    assert bytes_of(5).model_.to_bytes() != bytes_of(6).model_.to_bytes()
    assert bytes_of(None).seed_ != bytes_of(None).seed_
    assert bytes_of(np.random.RandomState(1)).seed_ == bytes_of(np.random.RandomState(1)).seed_
    with pytest.raises(ValueError, match="random_state"):
        bytes_of(-1)


def test_sample(model, curve):
    rows = model.sample(4000, random_state=1)
    assert rows.shape == (4000, 4)
    np.testing.assert_array_equal(rows[:10], model.sample(10, random_state=1))
    np.testing.assert_allclose(rows.mean(axis=0), curve.mean(axis=0), atol=0.25)
    np.testing.assert_allclose(rows.std(axis=0), curve.std(axis=0), rtol=0.3)
    bare = model.sample(4000, noise=False, random_state=1)
    assert np.var(rows - bare) == pytest.approx(model.beta_ / 2, rel=0.1)
    with pytest.raises(ValueError, match="n_samples"):
        model.sample(0)


def test_files_and_pickles(model, curve, tmp_path):
    path = tmp_path / "m.safetensors"
    model.save(path)
    z = model.transform(curve)
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        np.testing.assert_array_equal(other.transform(curve), z)
        assert str(other.report_) == str(model.report_)
        np.testing.assert_array_equal(other.components_, model.components_)
    loaded = IsoVAE.load(path)
    np.testing.assert_array_equal(loaded.transform(curve), z)
    np.testing.assert_array_equal(loaded.explained_variance_, model.explained_variance_)
    assert loaded.model_.to_bytes() == path.read_bytes()
    assert not hasattr(loaded, "report_")
    assert "600 rows" in str(loaded.make_report(curve))

    with pytest.raises(isovae.IsoVAEIOError, match="nowhere"):
        IsoVAE.load(tmp_path / "nowhere")
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(isovae.IsoVAEValueError):
        IsoVAE.load(path)


def test_named_model_keeps_its_names(curve, tmp_path):
    import pandas as pd

    frame = pd.DataFrame(curve, columns=["a", "b", "c", "ü"])
    IsoVAE(2, steps=20, report=False, random_state=0).fit(frame).save(tmp_path / "m")
    loaded = IsoVAE.load(tmp_path / "m")
    assert list(loaded.feature_names_in_) == ["a", "b", "c", "ü"]
    assert loaded.transform(frame).shape == (600, 2)


@pytest.mark.parametrize(
    "parameters, message",
    [
        (dict(n_components=5), "n_components: 5 latents for 4 features"),
        (dict(n_components=0), "n_components must be a whole number"),
        (dict(n_components=2.5), "n_components must be"),
        (dict(beta=-1), "beta must be"),
        (dict(beta="much"), "beta must be"),
        (dict(loss="l1"), "'l1' is not known"),
        (dict(loss="ssim"), "compares pictures"),
        (dict(loss=3), "loss must be a text"),
        (dict(arch="mlp:x"), "mlp:x"),
        (dict(steps=3, epochs=3), "steps or epochs"),
        (dict(steps=3, quick=True), "quick"),
        (dict(lr_schedule="x"), "lr_schedule: 'x' is none of"),
        (dict(learning_rate=3.0), "learning_rate: must"),
        (dict(learning_rate="fast"), "learning_rate must"),
        (dict(validation_fraction=1.0), "validation_fraction: a fraction"),
        (dict(preset="x"), "preset: 'x'"),
        (dict(scale="x"), "scale: 'x'"),
        (dict(image_shape=(3, 3)), "image_shape"),
        (dict(image_shape=4), "image_shape|iterable"),
        (dict(random_state=-3), "random_state"),
    ],
)
def test_wrong_parameters(parameters, message, curve):
    with pytest.raises((ValueError, TypeError), match=message):
        IsoVAE(**parameters).fit(curve)


def test_wrong_rows(model, curve):
    constant = np.ones((50, 3))
    with pytest.raises(isovae.IsoVAEValueError, match="constant"):
        IsoVAE(steps=10).fit(constant)
    constant[:, 1] = np.arange(50)
    est = IsoVAE(steps=50, report=True).fit(constant)  # two of three: fine
    assert np.isfinite(est.transform(constant)).all()
    with pytest.raises(isovae.IsoVAEValueError, match="single precision"):
        IsoVAE(steps=10).fit(curve * 1e300)
    with pytest.raises(ValueError, match="3 columns|latents"):
        model.inverse_transform(np.zeros((2, 2)))


def test_parameters_reach_the_library(curve):
    base = IsoVAE(2, steps=50, report=False, random_state=0).fit(curve).model_.to_bytes()
    for parameters in (
        dict(beta=0.5),
        dict(noise="feature"),
        dict(scale="standard"),
        dict(arch="mlp:8"),
        dict(activation="tanh"),
        dict(objective="decomposed"),
        dict(ensemble=2),
        dict(batch_size=32),
        dict(learning_rate=0.001),
        dict(lr_schedule="constant"),
        dict(lr_warmup=20),
        dict(weight_decay=0.1),
        dict(denoise=0.2),
        dict(beta_floor=0.2),
        dict(beta_start=3.0),
        dict(kl_warmup=0.5),
        dict(init="multimodal"),
        dict(validation_fraction=0.3),
        dict(loss="student", noise_floor=0.3),
    ):
        est = IsoVAE(2, steps=50, report=False, random_state=0).set_params(**parameters).fit(curve)
        assert est.model_.to_bytes() != base, parameters
    timed = IsoVAE(2, steps=10**6, max_time=0.5, report=False, random_state=0).fit(curve)
    assert int(timed.model_.metadata["training"]["steps"]) < 10**6


def test_remarks(curve, capsys):
    est = IsoVAE(2, steps=50, batch_size=5000, random_state=0, verbose=1).fit(curve)
    assert any("batch_size 5000" in note for note in est.notes_)
    said = capsys.readouterr().err
    assert "training" in said and "batch_size 5000" in said


def test_images():
    rng = np.random.default_rng(0)
    at = rng.uniform(2, 6, (300, 2))
    i, j = np.mgrid[:8, :8]
    x = np.exp(-((i - at[:, :1, None]) ** 2 + (j - at[:, 1:, None]) ** 2) / 4).reshape(300, 64)
    est = IsoVAE(3, image_shape=(8, 8), loss="bce", steps=300, random_state=0).fit(x)
    assert est.report_["image_quality"]["psnr_db"] > 10
    assert "<img" in est.report_.to_html() or "<svg" in est.report_.to_html()
    ssim = IsoVAE(3, image_shape=(8, 8), loss="ssim", beta=1e-3, steps=50, report=False)
    with pytest.raises(ValueError):  # too small for its windows
        ssim.fit(x)
