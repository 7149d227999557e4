"""What comes in besides tables of numbers: images of any layout, columns of words, labels."""

import json
import pickle
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from isovae import IsoVAE, IsoVAEDetector
from isovae._rows import Rows, form_of_array


def spots(n, size=16, seed=0):
    """Grey images of one spot somewhere, as bytes."""
    at = np.random.default_rng(seed).uniform(4, size - 5, (n, 2))
    i, j = np.mgrid[:size, :size]
    x = np.exp(-((i - at[:, :1, None]) ** 2 + (j - at[:, 1:, None]) ** 2) / 6)
    return (255 * x).round().astype(np.uint8)


@pytest.fixture(scope="module")
def images():
    return spots(300)


def short(**parameters):
    return IsoVAE(**{"n_components": 3, "steps": 60, "random_state": 0, **parameters})


# ---- images ----


def test_layouts_are_one_model(images):
    """Grey, channels last, channels first, flat, strided: the same bytes of the model."""
    colored = np.stack([images, images[::-1], 255 - images], axis=-1)
    last = short(report=False).fit(colored)
    assert last.image_shape_ == (16, 16, 3) and last.n_features_in_ == 768
    first = np.moveaxis(colored, -1, 1)
    for other in (
        short(report=False).fit(np.ascontiguousarray(first)),
        short(report=False).fit(first),  # a view
        short(report=False, layout="NCHW").fit(first),
        short(report=False, layout="NHWC").fit(np.asfortranarray(colored)),
        short(report=False, image_shape=(16, 16, 3)).fit(colored.reshape(300, -1)),
        short(report=False, image_shape=(16, 16, 3), layout="NCHW").fit(
            np.ascontiguousarray(first).reshape(300, -1)
        ),
    ):
        assert other.model_.to_bytes() == last.model_.to_bytes()
        np.testing.assert_array_equal(other.transform(colored), last.transform(first))
    grey = short(report=False).fit(images)
    assert grey.image_shape_ == (16, 16, 1)
    assert grey.model_.to_bytes() == short(report=False).fit(images[..., None]).model_.to_bytes()


def test_shapes_come_back(images):
    colored = np.stack([images, images[::-1], 255 - images], axis=-1)
    for x in (images, images[..., None], colored, np.moveaxis(colored, -1, 1)):
        est = short(report=False, steps=20).fit(x)
        z = est.transform(x)
        assert z.shape == (300, 3) and z.dtype == np.float64
        assert est.inverse_transform(z).shape == x.shape
        assert est.inverse_transform_isometric(est.transform_isometric(x)).shape == x.shape
        assert est.sample(4, random_state=0).shape == (4, *x.shape[1:])
        features, latents = est.explain(x[:5])
        assert features.shape == (5, *x.shape[1:]) and latents.shape == (5, 3)
    channels_last = short(report=False, steps=20).fit(colored)
    np.testing.assert_array_equal(
        np.moveaxis(est.inverse_transform(z), 1, -1), channels_last.inverse_transform(z)
    )
    flat = short(report=False, steps=20, image_shape=(16, 16)).fit(images.reshape(300, -1))
    assert flat.inverse_transform(flat.transform(images)).shape == (300, 256)


def test_scaling_is_that_of_the_command(images):
    """Bytes are divided by 255, numbers from 0 to 1 stay; results are in the units of X."""
    est = short(steps=300).fit(images)
    assert est.model_.metadata["scaling"]["kind"] == "unit"
    assert est.model_.metadata["scaling"]["scale"][0] == 255
    back = est.inverse_transform(est.transform(images))
    assert 100 < back.max() < 300
    assert est.report_["image_quality"]["psnr_db"] > 10
    floats = short(report=False).fit(images / 255)
    assert floats.model_.metadata["scaling"]["kind"] == "unit"
    assert floats.model_.metadata["scaling"]["scale"][0] == 1
    assert floats.inverse_transform(floats.transform(images / 255)).max() < 2
    assert short(report=False).fit(images / 25.0).model_.metadata["scaling"]["kind"] == "none"
    truth = short(report=False, steps=20).fit(images > 100)
    assert truth.model_.metadata["scaling"]["scale"][0] == 1
    assert (
        short(report=False, steps=20)
        .fit((images / 255).astype(np.float32))
        .transform((images / 255).astype(np.float32))
        .dtype
        == np.float32
    )


def test_no_needless_copies(images):
    """Parts of arrays that lie in order are views; bytes go to the library as they are."""
    floats = (images / 255).astype(np.float32)
    for x in (images, floats, floats[..., None], floats.reshape(300, -1)):
        rows = Rows(x)
        assert np.shares_memory(rows.part(slice(10, 20)), x)
        assert rows.part(slice(0, 7)).shape == (7, 256)
    assert Rows(images).part(slice(0, 2)).dtype == np.uint8
    est = IsoVAE()
    assert np.shares_memory(est._first_rows(images)[0].values, images)
    assert np.shares_memory(est._first_rows(images > 5)[0].part(slice(2)), images) is False


def test_networks_and_losses_of_images():
    rng = np.random.default_rng(1)
    x = np.repeat(spots(150, 32)[..., None], 3, axis=-1)
    conv = IsoVAE(4, arch="conv-small", steps=100, report=False, random_state=0).fit(x)
    assert conv.model_.metadata["arch"].startswith("conv-small")
    assert conv.sample(2).shape == (2, 32, 32, 3)
    ssim = IsoVAE(3, loss="ssim", beta=1e-3, steps=100, random_state=0).fit(spots(120, 32))
    assert ssim.report_["loss"].startswith("ssim") and "ssim" in ssim.report_["image_quality"]
    detector = IsoVAEDetector(steps=30, random_state=0).fit(spots(200))
    odd = rng.integers(0, 255, (40, 16, 16), dtype=np.uint8)
    assert (detector.predict(odd) == -1).mean() > 0.9
    assert detector.tail_prob(odd).shape == (40,)


def test_wrong_images(images):
    est = short(report=False, steps=10).fit(images)
    for x, message in (
        (images[:, :8], r"rows of shape \(8, 16\), but IsoVAE was fitted on images of height 16"),
        (images[:, :, :, None, None], "rows of shape"),
        (images.reshape(300, -1)[:, :9], "9 features, but IsoVAE is expecting 256"),
        (np.full((2, 16, 16), np.nan), "NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            est.transform(x)
    with pytest.raises(ValueError, match="layout must be"):
        short(layout="HWC").fit(images)
    with pytest.raises(ValueError, match="neither its last axis nor its second"):
        short().fit(np.zeros((20, 5, 6, 7)))
    for layout, shape in (("NHWC", (5, 6, 7)), ("NCHW", (6, 7, 5))):
        assert short(layout=layout)._first_rows(np.zeros((20, 5, 6, 7)))[1].image == shape
    with pytest.raises(ValueError, match="is not that of X"):
        short(image_shape=(4, 64)).fit(images)
    with pytest.raises(ValueError, match="5 axes"):
        short().fit(np.zeros((3, 2, 2, 2, 2)))
    with pytest.raises(ValueError, match="dim 3|fitted on|axes"):
        short(report=False, steps=10).fit(images.reshape(300, -1) / 255).transform(images)
    with pytest.raises(ValueError, match="image_shape"):
        form_of_array((5, 12), (2, 5), None)


def test_images_in_files_and_pickles(images, tmp_path):
    est = short(report=False, steps=30).fit(images)
    again = pickle.loads(pickle.dumps(est))
    np.testing.assert_array_equal(again.transform(images), est.transform(images))
    assert again.sample(2, random_state=1).shape == (2, 16, 16)
    est.save(tmp_path / "m")
    loaded = IsoVAE.load(tmp_path / "m")
    assert loaded.image_shape_ == (16, 16, 1) and loaded.sample(3).shape == (3, 16, 16)
    for x in (images, images[..., None], images[:, None], images.reshape(300, -1)):
        np.testing.assert_array_equal(loaded.transform(x), est.transform(images))
    refitted = clone(loaded).set_params(steps=20, report=False).fit(images)
    assert refitted.image_shape_ == (16, 16, 1)


def test_images_in_a_pipeline(images):
    pipe = make_pipeline(FunctionTransformer(lambda x: x / 255), short(report=False, steps=30))
    assert pipe.fit_transform(images).shape == (300, 3)
    search = GridSearchCV(short(report=False, steps=20), {"n_components": [1, 2]}, cv=KFold(2)).fit(
        images
    )
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


# ---- columns of words ----


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(3)
    t = rng.uniform(-2, 2, 400)
    kind = np.where(t > 0.5, "red", np.where(t > -0.5, "blue", "Ärger"))
    return pd.DataFrame(
        {
            "a": t + rng.normal(size=400) / 20,
            "kind": pd.Categorical(kind, categories=["red", "blue", "Ärger", "never seen"]),
            "b": t**2,
            "flag": pd.Series(np.where(rng.uniform(size=400) > 0.5, "yes", "no"), dtype=object),
        }
    )


def test_words_become_features(table):
    est = IsoVAE(3, scale="standard", steps=300, random_state=0).fit(table)
    assert est.n_features_in_ == 4 and list(est.feature_names_in_) == list(table.columns)
    # values ascend by their bytes, and those that no row has are none
    assert est.categories_ == {"kind": ["blue", "red", "Ärger"], "flag": ["no", "yes"]}
    names = ["a", "kind=blue", "kind=red", "kind=Ärger", "b", "flag=no", "flag=yes"]
    assert est.report_.feature_names == names
    assert est.model_.metadata["features"]["names"] == names
    assert [c["column"] for c in est.model_.metadata["features"]["categories"]] == ["kind", "flag"]
    assert est.components_.shape == (3, 7)
    encoded = np.column_stack(
        [table.a]
        + [table.kind == value for value in ("blue", "red", "Ärger")]
        + [table.b]
        + [table.flag == value for value in ("no", "yes")]
    ).astype(float)
    plain = IsoVAE(3, scale="standard", steps=300, random_state=0).fit(encoded)
    np.testing.assert_array_equal(est.transform(table), plain.transform(encoded))
    assert est.inverse_transform(est.transform(table)).shape == (400, 7)
    features, _ = est.explain(table[:2])
    assert features.shape == (2, 7)


def test_the_command_makes_the_same(table, images, tmp_path):
    """Words and bytes from an array and from a file: the same data hash, the same weights."""
    command = Path(__file__).parents[2] / "build/isovae"
    if not command.exists():
        pytest.skip("needs build/isovae (make)")
    single = table.astype({"a": np.float32, "b": np.float32})
    single.to_csv(tmp_path / "t.csv", index=False)
    np.save(tmp_path / "i.npy", images)
    for name, X, more in (
        ("t.csv", single, ["--categorical", "auto"]),
        ("i.npy", images, []),
    ):
        options = f"fit {tmp_path / name} -n 2 --steps 60 --seed 5 -q -o {tmp_path / 'm'}".split()
        subprocess.run([command, *options, *more], check=True)
        theirs = IsoVAE.load(tmp_path / "m")
        scale = theirs.model_.metadata["scaling"]["kind"]
        assert scale == ("unit" if X is images else "standard")
        ours = IsoVAE(2, steps=60, random_state=5, report=False)
        if X is not images:
            ours.set_params(scale="standard")
        ours.fit(X)
        about, other = ours.model_.metadata["training"], theirs.model_.metadata["training"]
        assert about["data_hash"] == other["data_hash"]
        np.testing.assert_array_equal(ours.transform(X), theirs.transform(X))
        np.testing.assert_array_equal(ours.score_samples(X), theirs.score_samples(X))


def test_unknown_and_missing_words(table):
    est = IsoVAE(2, steps=30, random_state=0, report=False).fit(table)
    new = table[:3].astype({"kind": object})
    new.loc[1, "kind"] = "violet"
    with pytest.raises(ValueError, match="1 row has in 'kind' a value .*'violet'.*handle_unknown"):
        est.transform(new)
    zeros = est.set_params(handle_unknown="ignore").transform(new)
    with pytest.warns(UserWarning, match="violet.*: zeros"):
        np.testing.assert_array_equal(est.set_params(handle_unknown="warn").transform(new), zeros)
    for absent in (None, np.nan, pd.NA, "", "NA", "?"):
        new.loc[2, "kind"] = absent
        with pytest.raises(ValueError, match="row 3, column 'kind': the value is missing"):
            est.transform(new)
    est.set_params(handle_unknown="zeros")
    with pytest.raises(ValueError, match="handle_unknown must be"):
        est.fit(table)
    holes = table.copy()
    holes.loc[5, "a"] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        IsoVAE(2, steps=10).fit(holes)
    with pytest.raises(ValueError, match="feature names|Feature names"):
        IsoVAE(2, steps=10, report=False).fit(table).transform(table[["b", "a", "kind", "flag"]])


def test_which_columns_hold_words(table):
    as_text = table.astype({"kind": "string"})
    as_text["n"] = pd.Series(np.arange(400), dtype=object)  # numbers in an object column
    est = IsoVAE(2, steps=20, report=False).fit(as_text)
    assert list(est.categories_) == ["kind", "flag"]
    digits = np.c_[np.random.default_rng(0).normal(size=(200, 2)), np.arange(200) % 3]
    assert IsoVAE(2, steps=20, report=False).fit(digits).n_features_in_ == 3
    est = IsoVAE(2, steps=20, categorical=[2], random_state=0).fit(digits)
    assert est.categories_ == {"c3": ["0", "1", "2"]}
    assert est.report_.feature_names == ["c1", "c2", "c3=0", "c3=1", "c3=2"]
    assert not est.model_.metadata["features"]["named"]
    mixed = digits.astype(object)
    mixed[:, 2] = np.where(digits[:, 2] > 1, "x", "y")
    assert IsoVAE(2, steps=20, report=False, categorical=[2]).fit(mixed).categories_ == {
        "c3": ["x", "y"]
    }
    with pytest.raises(ValueError, match="string"):
        IsoVAE(2, steps=20, categorical=None).fit(table)
    for wrong in ("some", ["nothing"], [4], [-1], [True]):
        with pytest.raises(ValueError, match="categorical"):
            IsoVAE(2, steps=20, categorical=wrong).fit(table)
    crowd = pd.DataFrame({"a": np.arange(1002.0), "id": [f"n{i}" for i in range(1002)]})
    with pytest.raises(ValueError, match="1002 different values are too many"):
        IsoVAE(1, steps=10).fit(crowd)
    long = pd.DataFrame({"a": np.arange(4.0), "id": ["x" * 300, "y", "z", "z"]})
    with pytest.raises(ValueError, match="300 bytes"):
        IsoVAE(1, steps=10).fit(long)
    only = pd.DataFrame({"u": list("abab") * 50, "v": list("ccdd") * 50})
    assert IsoVAE(2, steps=20, report=False).fit(only).transform(only).shape == (200, 2)


def test_words_in_files_pickles_and_searches(table, tmp_path):
    est = IsoVAEDetector(steps=60, random_state=0).fit(table)
    for other in (pickle.loads(pickle.dumps(est)), clone(est).fit(table)):
        np.testing.assert_array_equal(other.score_samples(table), est.score_samples(table))
    est.save(tmp_path / "m")
    loaded = IsoVAEDetector.load(tmp_path / "m")
    assert loaded.n_features_in_ == 4 and loaded.categories_ == est.categories_
    assert list(loaded.feature_names_in_) == list(table.columns)
    np.testing.assert_array_equal(loaded.predict(table), est.predict(table))
    search = GridSearchCV(
        IsoVAE(steps=20, report=False, random_state=0),
        {"n_components": [1, 2], "handle_unknown": ["ignore"], "scale": ["standard"]},
        cv=KFold(2),
    ).fit(table)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    frame = IsoVAE(2, steps=20, report=False).set_output(transform="pandas").fit_transform(table)
    assert list(frame.index) == list(table.index)


# ---- labels ----


def test_labels(model, curve):
    side = np.where(curve[:, 0] > 0, "right", "left")
    report = model.make_report(curve, pd.Series(side, name="side"))
    labels = report["labels"]
    assert labels["source"] == "side" and labels["kind"] == "classes"
    assert max(latent["auroc"] or 0 for latent in labels["latents"]) > 0.97
    assert "side" in str(report)
    assert {"label_eta2", "label_auroc", "label_class"} <= set(report.to_frame().columns)
    numbers = np.where(np.arange(600) % 7 == 0, np.nan, curve[:, 0])
    report = model.make_report(curve, numbers)
    labels = report["labels"]
    assert labels["source"] == "y" and labels["rows"] == np.isfinite(numbers).sum()
    assert max(latent["r2"] for latent in labels["latents"]) > 0.95
    assert report.to_frame()["label_r2"].max() > 0.95
    assert "labels" not in model.make_report(curve).to_dict() or (
        model.make_report(curve)["labels"] is None
    )
    json.dumps(report.to_dict())


def test_kinds_of_labels(model, curve):
    flag = curve[:, 0] > 0
    expected = model.make_report(curve, flag)["labels"]
    assert [c["name"] for c in expected["classes"]] == ["False", "True"]
    for y in (
        flag.astype(int),
        pd.Categorical(np.where(flag, "b", "a")),
        pd.Series(flag).astype("Int64"),
        flag.astype(int).tolist(),
        [None if i == 3 else str(f) for i, f in enumerate(flag)],
        flag.astype(float).reshape(-1, 1),
    ):
        labels = model.make_report(curve, y)["labels"]
        assert labels["kind"] == "classes" and len(labels["classes"]) == 2
        assert labels["latents"][0]["auroc"] == pytest.approx(
            expected["latents"][0]["auroc"], abs=0.01
        )
    for wrong, message in (
        (flag[:9], "one label for each of the 600 rows"),
        (np.zeros((600, 2)), "one label"),
        ([None] * 600, "no labels"),
        ([{}] * 600, "type dict"),
        ([f"n{i}" for i in range(600)] + [], None),
    ):
        if message is None:
            model.make_report(curve, wrong)
            continue
        with pytest.raises(ValueError, match=message):
            model.make_report(curve, wrong)


# ---- the rest of fit ----


def test_rows_to_hold_out(curve):
    train, held = curve[:450], curve[450:]
    est = IsoVAE(2, steps=200, random_state=0).fit(train, validation_data=held)
    assert est.report_["n_samples"] == 150
    assert est.model_.metadata["training"]["validation_fraction"] == 0
    again = IsoVAE(2, steps=200, random_state=0).fit(train, validation_data=(held, None))
    assert again.model_.to_bytes() == est.model_.to_bytes()
    with pytest.raises(ValueError, match="3 features"):
        est.fit(train, validation_data=held[:, :3])
    with pytest.raises(ValueError, match="not both"):
        IsoVAE(2, steps=20, validation_fraction=0.2).fit(train, validation_data=held)


def test_weights_to_start_from(model, curve, tmp_path):
    model.save(tmp_path / "m")
    est = IsoVAE(3, steps=1, beta=model.beta_, init_from=tmp_path / "m", random_state=0).fit(curve)
    cold = IsoVAE(3, steps=1, beta=model.beta_, random_state=0).fit(curve)
    assert est.score(curve) > cold.score(curve) + 1
    with pytest.raises((ValueError, OSError), match="nowhere"):
        IsoVAE(2, steps=10, init_from="nowhere").fit(curve)


def test_checkpoints(curve, tmp_path):
    path = tmp_path / "run.ckpt"

    class Enough(Exception):
        pass

    def stop(stage, done, total):
        if stage == "training" and done > total / 2:
            raise Enough

    est = IsoVAE(2, steps=4000, checkpoint=path, report=False, random_state=0)
    with pytest.raises(Enough):
        est.fit(curve, callback=stop)
    assert path.exists() and not hasattr(est, "model_")
    told = []
    est.fit(curve, callback=lambda stage, done, total: told.append((stage, done)))
    assert min(done for stage, done in told if stage == "training") > 1000  # it went on
    assert not path.exists()
    whole = IsoVAE(2, steps=4000, report=False, random_state=0).fit(curve)
    assert whole.model_.to_bytes() == est.model_.to_bytes()


def test_callbacks(model, curve):
    stages = set()
    IsoVAE(2, steps=100, random_state=0).fit(curve, callback=lambda *at: stages.add(at[0]))
    assert "training" in stages and len(stages) > 1
    model.make_report(curve, callback=lambda *at: stages.add(at[0]))
    with pytest.raises(ZeroDivisionError):
        IsoVAE(2, steps=10**8).fit(curve, callback=lambda *_: 1 / 0)
    with pytest.raises(TypeError, match="callable"):
        IsoVAE(2, steps=10).fit(curve, callback=3)


def test_smaller_things(model, curve):
    sd = model.posterior_std(curve)
    assert sd.shape == (600, 3) and ((sd > 0) & (sd < 1.5)).all()
    assert (sd.mean(axis=0)[: model.n_active_] < 0.9).all()
    features, latents = model.explain(curve[:4])
    assert features.shape == (4, 4) and latents.shape == (4, 3)
    far = curve[:4].copy()
    far[:, 2] += 5
    assert (model.explain(far)[0][:, 2] > features[:, 2] + 10).all()
    share = model.tail_prob(curve)
    assert ((share >= 0) & (share <= 1)).all() and share.std() > 0
    assert model.make_report(curve, iwae=0)["density"]["iwae"] is None
    assert model.make_report(curve, iwae=(8, 50))["density"]["iwae"]["k"] == 8
    with pytest.raises(ValueError, match="iwae"):
        model.make_report(curve, iwae=(1, 2, 3))
    start = IsoVAE(2, steps=50, noise="feature", noise_start=1.0, random_state=0, report=False)
    base = IsoVAE(2, steps=50, noise="feature", random_state=0, report=False).fit(curve)
    assert start.fit(curve).model_.to_bytes() != base.model_.to_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clone(start)
