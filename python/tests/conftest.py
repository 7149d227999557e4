import faulthandler
import os

os.environ.setdefault("SCIPY_ARRAY_API", "1")  # one of scikit-learn's checks waits for it

import matplotlib  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

from isovae import IsoVAE  # noqa: E402

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def no_test_hangs():
    """Ends the run, with where it stands, after three minutes in one test."""
    faulthandler.dump_traceback_later(180, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="session")
def curve():
    """600 rows on a bent curve, with a second direction and some noise."""
    rng = np.random.default_rng(0)
    t, u = rng.uniform(-2, 2, 600), rng.uniform(-0.5, 0.5, 600)
    return np.c_[t, t**2 / 2, 2 * t + u, u - t] + rng.normal(size=(600, 4)) / 20


@pytest.fixture(scope="session")
def model(curve):
    return IsoVAE(n_components=3, steps=1000, random_state=3).fit(curve)
