"""Small pictures for the pages of results."""
import os

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from PIL import Image  # noqa: E402

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")


def panels(count, width=3.6, height=2.8):
    """(figure, list of axes side by side)"""
    figure, axes = plt.subplots(1, count, figsize=(width * count, height), squeeze=False)
    return figure, list(axes[0])


def save(figure, path, dpi=80):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, dpi=dpi)
    plt.close(figure)
    smaller(path, colors=64)
    return path


def smaller(path, out=None, colors=128, width=None):
    """The PNG with a palette, and no wider than `width`: half of the bytes or fewer."""
    with Image.open(path) as image:
        image = image.convert("RGB")
        if width and image.width > width:
            image = image.resize((width, round(image.height * width / image.width)))
        image.quantize(colors).save(out or path, optimize=True)
    return out or path
