"""What a model learned, in numbers."""

from __future__ import annotations

import copy
import html
import os
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from ._library import in_python
from ._rows import FloatArray

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes


class Told:
    """What the library tells in many forms: a text, its JSON and, where there is one, its page."""

    def __init__(self, text: str, content: dict[str, Any], page: str | None) -> None:
        self.text = in_python(text)
        self._content = content
        self._page = None if page is None else zlib.compress(page.encode())

    def __repr__(self) -> str:
        return self.text

    __str__ = __repr__

    def __getitem__(self, key: str) -> Any:
        """A part by its name in the JSON."""
        return self._content[key]

    def to_dict(self) -> dict[str, Any]:
        return copy.deepcopy(self._content)

    def _put_page(self, path: str | os.PathLike[str] | None) -> str | None:
        assert self._page is not None
        page = zlib.decompress(self._page).decode()
        if path is None:
            return page
        with open(path, "w", encoding="utf-8") as file:
            file.write(page)
        return None


class Report(Told):
    """The analysis of a model on rows of data.

    Printed, it is the report that the command `isovae report` shows; in a notebook a table with
    the same numbers. Made by `fit` and by `IsoVAE.report`.

    Attributes
    ----------
    text : str
        The report for a terminal of 80 columns. It counts latents by their rank on these rows; in
        `to_dict` and in a notebook they have their place in the model, that of `transform`.
    loadings : ndarray of shape (n_components, n_features)
        How far one standard deviation of a latent's isometric coordinate moves each feature, in
        the feature's units: the mean over the rows. NaN for latents that are not active.
    loadings_rms : ndarray of shape (n_components, n_features)
        The same as root mean squares, so that what moves up here and down there is seen.
    feature_names : list of str
        The columns of the loadings.

    Examples
    --------
    >>> print(model.report_)                     # doctest: +SKIP
    >>> model.report_["rate_nats"]               # doctest: +SKIP
    >>> model.report_.plot_spectrum()            # doctest: +SKIP
    >>> model.report_.to_html("report.html")     # doctest: +SKIP
    """

    def __init__(
        self,
        text: str,
        content: dict[str, Any],
        page: str,
        loadings: FloatArray,
        loadings_rms: FloatArray,
        feature_names: list[str],
    ) -> None:
        super().__init__(text, content, page)
        self.loadings = loadings
        self.loadings_rms = loadings_rms
        self.feature_names = feature_names

    def to_dict(self) -> dict[str, Any]:
        """The report as plain Python objects: the JSON of `isovae report --json`.

        Returns
        -------
        dict
            Format "isovae-report/1", described in docs/report.schema.json. Latents are in the
            order of their variance on these rows; `index` is their place in the model.
        """
        return super().to_dict()

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str | None:
        """The report as one self-contained page with charts.

        Parameters
        ----------
        path : str or path, optional
            The file to write. Without it the page is returned.

        Returns
        -------
        str or None
        """
        return self._put_page(path)

    def to_frame(self) -> pandas.DataFrame:
        """One row per latent, as a pandas DataFrame.

        Returns
        -------
        pandas.DataFrame
            Indexed by the latent's place in the model; with `label_r2`, or `label_eta2`,
            `label_auroc` and `label_class`, where labels were given.
        """
        import pandas

        plain = [
            {key: value for key, value in latent.items() if not isinstance(value, list)}
            for latent in self._content["latents"]
        ]
        labels = self._content.get("labels") or {"latents": []}
        for latent, told in zip(plain, labels["latents"]):  # both in the order of these rows
            for key in ("r2", "eta2", "auroc", "class"):
                if key in told:
                    latent[f"label_{key}"] = told[key]
        return pandas.DataFrame(plain).set_index("index")

    @property
    def warnings(self) -> list[str]:
        """What to know and what to do about it, as texts."""
        return [in_python(warning["text"]) for warning in self._content["warnings"]]

    def _by_index(self, key: str) -> FloatArray:
        """A number of each latent, in the model's order; NaN where there is none."""
        out = np.full(len(self._content["latents"]), np.nan)
        for latent in self._content["latents"]:
            if latent["active"] and latent[key] is not None:
                out[latent["index"]] = latent[key]
        return out

    @staticmethod
    def _sign(loading: dict[str, Any]) -> str:
        if (loading["sign_consistency"] or 0) < 0.5:
            return "~"
        return "-" if loading["mean"] < 0 else "+"

    def _repr_html_(self) -> str:
        content = self._content
        latents = [latent for latent in content["latents"] if latent["active"]]
        largest = max([latent["variance_y"] for latent in latents], default=1.0)
        eigenvalues = content["pca"]["eigenvalues"]
        verdict = self.text.split("\n\n")[0].replace("\n", " ")
        rows = []
        for rank, latent in enumerate(latents[:20]):
            width = 100 * latent["variance_y"] / largest
            share = latent["share"]
            pca = eigenvalues[rank] if rank < len(eigenvalues) else None
            cells = [
                str(latent["index"]),
                f"{latent['variance_y']:.4g}",
                f'<div style="background:#3b78b5;height:0.8em;width:{width:.0f}%"></div>',
                "" if share is None else f"{100 * share:.1f} %",
                "" if latent["kl_nats"] is None else f"{latent['kl_nats']:.2f}",
                _number(latent["optimality_mean"]),
                _number(pca),
                html.escape(
                    " ".join(self._sign(each) + each["feature"] for each in latent["loadings"][:4])
                ),
            ]
            rows.append("<tr>" + "".join(_cell(cell) for cell in cells) + "</tr>")
        heads = ["latent", "variance", "", "share", "nats", "optimality", "PCA", "moves most"]
        facts = [
            f"{content['n_samples']:,} {html.escape(content['provenance']['split'])} rows",
        ]
        if content["beta"] is not None:  # audits of parts know no width
            facts += [
                f"beta {content['beta']:.4g}",
                f"rate {_number(content['rate_nats'])} nats",
                f"ELBO {_number(content['elbo_nats'])} nats",
            ]
        idle = content["latent_dim"] - content["active_dim"]
        more = [f"{idle} latent{'s' if idle != 1 else ''} not active"] if idle else []
        if len(latents) > 20:
            more.append(f"{len(latents) - 20} weaker ones not shown")
        notes = "".join(f"<li>{html.escape(text)}</li>" for text in self.warnings)
        return (
            f'<div><p style="margin:0.3em 0"><b>{html.escape(verdict)}</b><br>{"; ".join(facts)}</p>'
            f"<table><thead><tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr></thead>"
            f"<tbody>{''.join(rows)}</tbody></table>"
            f"<p>{'; '.join(more)}</p><ul>{notes}</ul></div>"
        )

    # Charts: matplotlib is imported when the first one is drawn.

    def plot_spectrum(self, ax: Axes | None = None) -> Axes:
        """Variance of each active latent beside PCA's eigenvalues.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib Axes
        """
        ax = _axes(ax)
        content = self._content
        values = [item["variance_y"] for item in content["latents"] if item["active"]]
        ax.bar(np.arange(len(values)), values, color="#3b78b5", label="latents (variance of y)")
        pca = content["pca"]
        if pca["comparable"] and pca["eigenvalues"]:
            shown = pca["eigenvalues"][: len(values) + 2]
            ax.plot(np.arange(len(shown)), shown, "o-", color="#c0504d", label="PCA eigenvalues")
            if content["beta"] is not None:
                ax.axhline(content["beta"] / 2, color="0.5", linestyle=":", label="noise, beta/2")
        ax.set_yscale("log")
        ax.margins(y=0.2)  # room for the legend
        ax.set_xlabel("rank")
        ax.set_ylabel(content["unit"] or "variance")
        ax.legend(frameon=False)
        return ax

    def plot_loadings(self, latent: int = 0, ax: Axes | None = None) -> Axes:
        """The ten features that a latent moves most, in the units of the metric.

        `loadings` has all features in their own units.

        Parameters
        ----------
        latent : int, default=0
            Its place in the model.
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib Axes
        """
        found = [item for item in self._content["latents"] if item["index"] == latent]
        if not found:
            raise ValueError(f"there is no latent {latent}; the model has {len(self.loadings)}")
        ax = _axes(ax)
        top = found[0]["loadings"][::-1]
        colors = {"+": "#3b78b5", "-": "#c0504d", "~": "0.6"}
        for sign, name in (("+", "rises"), ("-", "falls"), ("~", "both ways over the data")):
            places = [i for i, each in enumerate(top) if self._sign(each) == sign]
            shares = [100 * top[i]["share"] for i in places]
            if places:
                ax.barh(places, shares, color=colors[sign], label=name)
        ax.set_yticks(range(len(top)), [each["feature"] for each in top])
        ax.set_xlabel(f"share of what latent {latent} moves (%)")
        if top:
            ax.legend(frameon=False)
        return ax

    def plot_optimality(self, ax: Axes | None = None) -> Axes:
        """How near each active latent is to the optimum, which is 1.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib Axes
        """
        ax = _axes(ax)
        mean, spread = self._by_index("optimality_mean"), self._by_index("optimality_sd")
        active = np.flatnonzero(np.isfinite(mean))
        ax.errorbar(active, mean[active], spread[active], fmt="o", color="#3b78b5", capsize=3)
        ax.axhline(1, color="0.5", linestyle=":")
        ax.set_xlabel("latent")
        ax.set_ylabel("optimality (1 = at the optimum)")
        return ax

    def plot_rate(self, ax: Axes | None = None) -> Axes:
        """Information that each active latent carries, in nats a row.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib Axes
        """
        ax = _axes(ax)
        nats = self._by_index("kl_nats")
        active = np.flatnonzero(np.isfinite(nats))
        ax.bar(active, nats[active], color="#3b78b5")
        ax.set_xlabel("latent")
        ax.set_ylabel("nats a row")
        return ax


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _cell(text: str) -> str:
    style = ' style="min-width:8em"' if text.startswith("<div") else ""
    return f"<td{style}>{text}</td>"


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install matplotlib") from error
    return pyplot.subplots()[1]
