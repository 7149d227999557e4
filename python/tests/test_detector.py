import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import roc_auc_score

from isovae import IsoVAEDetector, IsoVAEPyOD


@pytest.fixture(scope="module")
def rows(curve):
    rng = np.random.default_rng(1)
    odd = rng.permuted(curve[:60], axis=0) + rng.normal(size=(60, 4))  # relations broken
    return curve, odd


@pytest.fixture(scope="module")
def detector(rows):
    return IsoVAEDetector(random_state=0).fit(rows[0])


def test_conventions(rows, detector):
    normal, odd = rows
    both = np.r_[normal, odd]
    truth = np.r_[np.zeros(600), np.ones(60)]
    scores = detector.score_samples(both)
    assert roc_auc_score(truth, -scores) > 0.85
    np.testing.assert_allclose(detector.decision_function(both), scores - detector.offset_)
    labels = detector.predict(both)
    assert set(labels) == {-1, 1}
    np.testing.assert_array_equal(labels == -1, scores < detector.offset_)
    assert (labels[:600] == -1).mean() < 0.05
    share = detector.tail_prob(both)
    assert ((share >= 0) & (share <= 1)).all()
    assert (share[labels == -1] <= 0.0101).all()
    assert detector.model_.members == 3


def test_contamination(rows):
    normal, _ = rows
    est = IsoVAEDetector(contamination=0.1, random_state=0)
    assert (est.fit_predict(normal) == -1).sum() == 60
    for wrong in (0, 0.6, -1, "some", None):
        with pytest.raises(ValueError, match="contamination"):
            IsoVAEDetector(contamination=wrong).fit(normal)


def test_files_and_pickles(rows, detector, tmp_path):
    normal, _ = rows
    for other in (pickle.loads(pickle.dumps(detector)), clone(detector).fit(normal)):
        np.testing.assert_array_equal(other.score_samples(normal), detector.score_samples(normal))
    detector.save(tmp_path / "d")
    loaded = IsoVAEDetector.load(tmp_path / "d")
    np.testing.assert_array_equal(loaded.predict(normal), detector.predict(normal))
    report = detector.make_report(normal, member=2)
    assert report["ensemble"]["member"] == 2 and len(report["ensemble"]["members"]) == 3
    with pytest.raises(ValueError, match="member"):
        detector.make_report(normal, member=3)


def test_pyod(rows):
    normal, odd = rows
    clf = IsoVAEPyOD(contamination=0.1, detector=IsoVAEDetector(random_state=0)).fit(normal)
    assert clf.labels_.sum() == 60 and set(clf.labels_) == {0, 1}
    np.testing.assert_array_equal(clf.decision_function(normal), clf.decision_scores_)
    np.testing.assert_array_equal(clf.labels_, clf.decision_scores_ > clf.threshold_)
    np.testing.assert_array_equal(clf.predict(normal), clf.labels_)
    assert np.median(clf.decision_function(odd)) > clf.threshold_  # higher = outlier
    proba = clf.predict_proba(odd)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert np.median(proba[:, 1]) > 0.9
    np.testing.assert_array_equal(
        clf.detector_.predict(odd) == -1, clf.predict(odd) == 1
    )  # the two conventions name the same rows
    again = clone(clf)
    assert again.contamination == 0.1 and not hasattr(again, "detector_")
    np.testing.assert_array_equal(again.fit_predict(normal), clf.labels_)
    with pytest.raises(ValueError, match="contamination"):
        IsoVAEPyOD(contamination="auto").fit(normal)
