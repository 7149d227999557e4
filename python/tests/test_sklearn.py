"""scikit-learn's own checks of what an estimator must do, and its tools around ours."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from isovae import IsoVAE, IsoVAEDetector, IsoVAEPyOD


@parametrize_with_checks([IsoVAE(), IsoVAEDetector()])
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


def test_pipeline_and_clone(curve):
    pipe = make_pipeline(StandardScaler(), IsoVAE(n_components=2, steps=200, random_state=0))
    z = pipe.fit_transform(curve)
    assert z.shape == (600, 2)
    np.testing.assert_array_equal(z, pipe.transform(curve))
    again = clone(pipe).fit(curve)
    np.testing.assert_array_equal(again.transform(curve), z)


def test_grid_search_prefers_enough_latents(curve):
    # one latent cannot hold both directions: its held-out density is lower
    search = GridSearchCV(
        IsoVAE(steps=400, report=False, random_state=0),
        {"n_components": [1, 3]},
        cv=KFold(3, shuffle=True, random_state=0),
    )
    search.fit(curve)
    assert search.best_params_ == {"n_components": 3}
    assert search.cv_results_["mean_test_score"][0] < search.best_score_


def test_set_output_and_names(curve):
    frame = pd.DataFrame(curve, columns=list("abcd"), index=np.arange(600) + 7)
    est = IsoVAE(n_components=2, steps=100, random_state=0).fit(frame)
    assert list(est.feature_names_in_) == list("abcd")
    assert list(est.get_feature_names_out()) == ["isovae0", "isovae1"]
    est.set_output(transform="pandas")
    for out in (est.transform(frame), est.transform_isometric(frame)):
        assert isinstance(out, pd.DataFrame)
        assert list(out.columns) == ["isovae0", "isovae1"]
        assert list(out.index) == list(frame.index)
    with pytest.raises(ValueError, match="feature names"):
        est.transform(frame[["b", "a", "c", "d"]])
    assert "moves most" in str(est.report_) and "+c" in str(est.report_)


def test_linear_is_pca(curve):
    """A linear VAE finds what probabilistic PCA has: eigenvalues and subspace."""
    est = IsoVAE(
        n_components=2, arch="linear", steps=4000, validation_fraction=0.0, random_state=1
    ).fit(curve)
    pca = PCA(2).fit(curve)
    np.testing.assert_allclose(est.explained_variance_, pca.explained_variance_, rtol=0.05)
    np.testing.assert_allclose(
        est.explained_variance_ratio_, pca.explained_variance_ratio_, rtol=0.1
    )
    # of an eigenvalue e, the model holds e - beta/2, through a decoder that shrinks
    size = (pca.explained_variance_ - est.beta_ / 2) / np.sqrt(pca.explained_variance_)
    for ours, theirs, expected in zip(est.components_, pca.components_, size):
        assert abs(ours @ theirs) / np.linalg.norm(ours) > 0.99
        assert np.linalg.norm(ours) == pytest.approx(expected, rel=0.05)


def test_sample_weights_are_refused(curve):
    for est in (IsoVAE(steps=10), IsoVAEDetector(steps=10)):
        with pytest.raises(ValueError, match="takes no sample weights.*Repeat rows"):
            est.fit(curve, sample_weight=np.ones(600))
        with pytest.raises(TypeError, match="'weights'"):
            est.fit(curve, weights=1)
    est = IsoVAE(steps=10, report=False)
    assert est.fit(curve, sample_weight=None) is est


@pytest.mark.parametrize("kind", [IsoVAE, IsoVAEDetector, IsoVAEPyOD])
def test_parameters_are_documented(kind):
    import inspect

    for name in inspect.signature(kind.__init__).parameters:
        if name != "self":
            assert (
                f"    {name} : " in kind.__doc__
                or f", {name} : " in kind.__doc__
                or (name in ("steps", "epochs") and "steps, epochs : " in kind.__doc__)
            )
