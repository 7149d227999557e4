"""One audit for each checkpoint of a training, as a table."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ._audit import audit
from ._report import Report, _axes, _number

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

# Columns: their heads, and what plots say.
_COLUMNS = {
    "active": ("active", "active latents"),
    "optimality": ("optimality", "optimality (1 = at the optimum)"),
    "stationarity": ("E0", "stationarity E0 (1 = at the optimum)"),
    "beta": ("beta found", "beta for which E0 holds best"),
    "beta_spread": ("spread", "spread of beta over latents"),
    "distortion": ("distortion", "distortion"),
    "rate_nats": ("rate", "rate, nats"),
    "elbo_nats": ("ELBO", "ELBO, nats"),
}


def _mean(latents: list[dict[str, Any]], key: str) -> float | None:
    values = [each[key] for each in latents if each["active"] and each[key] is not None]
    return float(np.mean(values)) if values else None


def _row(name: str, report: Report) -> dict[str, Any]:
    content = report.to_dict()
    latents = content["latents"]
    return {
        "name": name,
        "active": content["active_dim"],
        "optimality": _mean(latents, "optimality_mean"),
        "stationarity": _mean(latents, "stationarity_mean"),
        "beta": content["audit"]["beta_estimate"],
        "beta_spread": content["audit"]["beta_spread"],
        "distortion": content["distortion"]["total"],
        "rate_nats": content["rate_nats"],
        "elbo_nats": content["elbo_nats"],
        "warnings": [each["code"] for each in content["warnings"]],
    }


class CheckpointTable:
    """How optimality, active latents and the rest went over a training.

    Printed, a table with a row for each checkpoint. Made by `isovae.audit_checkpoints`.

    Attributes
    ----------
    names : list of str
        The checkpoints in their order.
    reports : list of Report
        The audit of each.

    Examples
    --------
    >>> print(table)                     # doctest: +SKIP
    >>> table.to_frame()                 # doctest: +SKIP
    >>> table.plot("active")             # doctest: +SKIP
    """

    def __init__(self, names: list[str], reports: list[Report]) -> None:
        self.names = names
        self.reports = reports
        self._rows = [_row(*each) for each in zip(names, reports)]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, key: str) -> list[Any]:
        """A column by its name, as in `to_dict`."""
        return [row[key] for row in self._rows]

    @property
    def text(self) -> str:
        """The table for a terminal."""
        heads = ["checkpoint", *(head for head, _ in _COLUMNS.values()), "warnings"]
        lines = [heads]
        for row in self._rows:
            numbers = [_number(row[key]) or "-" for key in _COLUMNS]
            lines.append([row["name"], *numbers, " ".join(row["warnings"])])
        wide = [max(len(line[i]) for line in lines) for i in range(len(heads))]
        out = []
        for line in lines:
            cells = [line[0].ljust(wide[0])]
            cells += [cell.rjust(width) for cell, width in zip(line[1:-1], wide[1:-1])]
            out.append("  ".join([*cells, line[-1]]).rstrip())
        return "\n".join(out)

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        heads = ["checkpoint", *(head for head, _ in _COLUMNS.values()), "warnings"]
        body = ""
        for row in self._rows:
            cells = [row["name"], *(_number(row[key]) for key in _COLUMNS)]
            cells.append(" ".join(row["warnings"]))
            body += "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"
        top = "".join(f"<th>{head}</th>" for head in heads)
        return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"

    def to_dict(self) -> list[dict[str, Any]]:
        """The table as plain Python objects.

        Returns
        -------
        list of dict
            For each checkpoint `name`, `active`, `optimality` and `stationarity` (means over active
            latents; 1 = at the optimum), `beta` (found), `beta_spread`, `distortion`, `rate_nats`,
            `elbo_nats` and `warnings`, the codes of its report. None where a number does not exist.
        """
        out: list[dict[str, Any]] = json.loads(json.dumps(self._rows))
        return out

    def to_frame(self) -> pandas.DataFrame:
        """The table as a pandas DataFrame.

        Returns
        -------
        pandas.DataFrame
            Indexed by the checkpoints' names.
        """
        import pandas

        return pandas.DataFrame(self.to_dict()).set_index("name")

    def plot(self, column: str = "optimality", ax: Axes | None = None) -> Axes:
        """A column over the checkpoints.

        Parameters
        ----------
        column : str, default="optimality"
            Which, as in `to_dict`.
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib Axes
        """
        if column not in _COLUMNS:
            raise ValueError(f"column must be one of {', '.join(_COLUMNS)}; it is {column!r}")
        ax = _axes(ax)
        values = [np.nan if each is None else each for each in self[column]]
        ax.plot(range(len(values)), values, "o-", color="#3b78b5")
        if column in ("optimality", "stationarity"):
            ax.axhline(1, color="0.5", linestyle=":")
        ax.set_xticks(range(len(values)), self.names, rotation=30, ha="right")
        ax.set_xlabel("checkpoint")
        ax.set_ylabel(_COLUMNS[column][1])
        return ax


def _each(checkpoints: Any) -> Iterator[tuple[str, Any, Any]]:
    """Name and networks, one after the other."""
    if isinstance(checkpoints, Mapping):
        checkpoints = checkpoints.items()
    elif callable(checkpoints):
        checkpoints = checkpoints()
    for place, item in enumerate(checkpoints):
        name, pair = str(place), item
        if isinstance(item, (tuple, list)) and len(item) == 3:
            name, pair = str(item[0]), tuple(item[1:])
        elif isinstance(item, (tuple, list)) and len(item) == 2 and isinstance(item[0], (str, int)):
            # (name, pair or loader), unless it is a pair of paths
            if callable(item[1]) or isinstance(item[1], (tuple, list)):
                name, pair = str(item[0]), item[1]
        if callable(pair):
            pair = pair()
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError(
                f"checkpoint {name}: it must be (encode, decode), (name, encode, decode), or a "
                "function that returns such a pair"
            )
        yield name, pair[0], pair[1]


def audit_checkpoints(checkpoints: Iterable[Any], X: Any, **options: Any) -> CheckpointTable:
    """Audit the checkpoints of a training, one after the other.

    Parameters
    ----------
    checkpoints : iterable, mapping or function
        Pairs (encode, decode) of modules, functions or paths of ONNX files; triples (name, encode,
        decode); or functions without arguments that return a pair, so that each is loaded only when
        its turn comes. A mapping gives names to them. A function is called and must return (or
        yield) such items; what it yields is audited before the next one is asked for, so one module
        may take the states of all checkpoints.
    X : array-like of shape (n_samples, ...)
        The rows, the same for all: rows that were not trained on, best.
    **options
        Those of `audit`. Give `beta` (with `loss_scale`) if it is known: else each checkpoint is
        measured at the beta that fits it best, and numbers of optimality do not compare.

    Returns
    -------
    CheckpointTable

    Examples
    --------
    >>> def load():                                          # doctest: +SKIP
    ...     for path in sorted(folder.glob("*.pt")):
    ...         vae.load_state_dict(torch.load(path))
    ...         yield path.stem, vae.encode, vae.decode
    >>> print(isovae.audit_checkpoints(load, x_test, beta=1.0))    # doctest: +SKIP
    """
    names: list[str] = []
    reports: list[Report] = []
    for name, encode, decode in _each(checkpoints):
        try:
            reports.append(audit(encode, decode, X, **options))
        except Exception as error:
            if hasattr(error, "add_note"):
                error.add_note(f"in the audit of checkpoint {name}")
            raise
        names.append(name)
    if not names:
        raise ValueError("there are no checkpoints")
    return CheckpointTable(names, reports)
