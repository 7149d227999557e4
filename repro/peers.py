"""Other people's methods on the same splits: scikit-learn, and PyOD where it is there.

    scores(name, train, test, seed) -> {method: score of each test row, higher = more probable}

Each at its library's defaults, or at what is said beside it; nothing is chosen by labels.
"""
import importlib.util

import numpy as np

MOST_TRAIN = 10000  # rows that methods of quadratic cost are given
CHUNK = 4096
TORCH = "VAE of PyOD"  # the method that also needs PyTorch


def here(package):
    return importlib.util.find_spec(package) is not None


def available():
    """What can be run here, and what not and why."""
    found, missing = [], []
    for package, methods in (("sklearn", ["isolation forest", "one-class SVM", "k nearest"]),
                             ("pyod", ["HBOS"])):
        (found if here(package) else missing).extend(methods)
    (found if here("pyod") and here("torch") else missing).append(TORCH)
    return found, missing


def standard(train, test):
    centre, spread = train.mean(0, dtype=np.float64), train.std(0, dtype=np.float64)
    spread[spread == 0] = 1
    return [((x - centre) / spread).astype(np.float32) for x in (train, test)]


def some(train, seed):
    if len(train) <= MOST_TRAIN:
        return train
    return train[np.random.default_rng(seed).choice(len(train), MOST_TRAIN, replace=False)]


def isolation_forest(train, test, seed):
    from sklearn.ensemble import IsolationForest
    return IsolationForest(random_state=seed).fit(train).score_samples(test)


def one_class_svm(train, test, seed):
    from sklearn.svm import OneClassSVM
    train, test = standard(train, test)
    model = OneClassSVM(nu=0.1, gamma="scale").fit(some(train, seed))
    return np.concatenate([model.decision_function(test[k:k + CHUNK])
                           for k in range(0, len(test), CHUNK)])


def k_nearest(train, test, seed):
    """Mean distance to the five nearest training rows."""
    from sklearn.neighbors import NearestNeighbors
    train, test = standard(train, test)
    model = NearestNeighbors(n_neighbors=5).fit(some(train, seed))
    return np.concatenate([-model.kneighbors(test[k:k + CHUNK])[0].mean(1)
                           for k in range(0, len(test), CHUNK)])


def hbos(train, test, seed):
    from pyod.models.hbos import HBOS
    return -HBOS().fit(train).decision_function(test)


def vae(train, test, seed):
    from pyod.models.vae import VAE
    return -VAE(random_state=seed, verbose=0).fit(train).decision_function(test)


METHODS = {"isolation forest": isolation_forest, "one-class SVM": one_class_svm,
           "k nearest": k_nearest, "HBOS": hbos, TORCH: vae}


def scores(train, test, seed, methods):
    train, test = train.astype(np.float64), test.astype(np.float64)
    return {method: METHODS[method](train, test, seed) for method in methods}
