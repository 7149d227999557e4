"""What the estimators take as rows: tables, images, columns of words; and how the model has them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

FloatArray = np.ndarray[Any, np.dtype[Any]]

_MISSING = {"", "?", "na", "nan", "null"}  # as in a CSV of the command
_MOST_VALUES, _LONGEST_VALUE = 1000, 256


class Rows:
    """Rows of an array as the library reads them, part by part: where they lie, if they can be."""

    def __init__(self, values: FloatArray, channels_first: bool = False) -> None:
        self.values = values
        self.features = int(np.prod(values.shape[1:]))
        self._first = channels_first and values.ndim == 4

    def __len__(self) -> int:
        return len(self.values)

    @property
    def dtype(self) -> Any:
        """Of results about these rows."""
        return np.dtype(np.float32 if self.values.dtype == np.float32 else np.float64)

    def part(self, at: slice) -> FloatArray:
        """(rows, features) of these rows, channels fastest; bytes stay bytes."""
        part = self.values[at]
        if self._first:
            part = np.moveaxis(part, 1, -1)
        return part if part.ndim == 2 else part.reshape(len(part), -1)


@dataclass(frozen=True)
class Words:
    """A column of words: its features are 1 in rows that have their value, and 0 else."""

    place: int  # among the columns
    first: int  # of its features
    column: str
    values: tuple[str, ...]  # ascending by their bytes


@dataclass
class Form:
    """The rows that a model was trained on: what `transform` takes, and the shape of what it gives."""

    image: tuple[int, int, int] | None = None  # height, width, channels
    ndim: int = 2
    channels_first: bool = False
    columns: list[str] | None = None  # names, where there are some
    words: list[Words] = field(default_factory=list)
    n_columns: int = 0

    @property
    def names(self) -> list[str] | None:
        """Of the model's features."""
        if not self.words:
            return self.columns
        named = self.columns or [f"c{i + 1}" for i in range(self.n_columns)]
        out: list[str] = []
        of = {word.place: word for word in self.words}
        for place, name in enumerate(named):
            word = of.get(place)
            out += [f"{word.column}={value}" for value in word.values] if word else [name]
        return out

    def feature_names(self, count: int) -> list[str]:
        """The same, with names for a model of `count` features where there are none."""
        return self.names or [f"c{i + 1}" for i in range(count)]

    def restore(self, values: FloatArray) -> FloatArray:
        """(rows, features) in the shape of the rows of the training."""
        if self.image is None or (self.ndim == 2 and not self.channels_first):
            return values
        out = values.reshape(len(values), *self.image)
        if self.channels_first and self.ndim != 3:
            out = np.ascontiguousarray(np.moveaxis(out, -1, 1))
        if self.ndim == 2:
            return out.reshape(len(out), -1)
        return out[..., 0] if self.ndim == 3 else out

    def about(self) -> str:
        assert self.image is not None
        height, width, channels = self.image
        return f"images of height {height}, width {width} and {channels} channel" + (
            "" if channels == 1 else "s"
        )


def dimensions(X: Any) -> int:
    """Axes of what may become an array; 2 for what cannot be told."""
    ndim = getattr(X, "ndim", None)
    if ndim is None:
        try:
            ndim = np.asarray(X).ndim
        except (TypeError, ValueError):  # lists of unequal lengths, say, which are refused later
            return 2
    return int(ndim)


def _channels_first(shape: tuple[int, ...], layout: str | None) -> bool:
    """Of an array (rows, a, b, c): which of them counts channels, as the command decides it."""
    if layout is not None:
        return layout == "NCHW"
    if shape[3] in (1, 3, 4):
        return False
    if shape[1] in (1, 3):
        return True
    raise ValueError(
        f"X has the shape {shape}: neither its last axis nor its second looks like channels (1, 3 or "
        "4); say layout='NHWC' (channels last) or layout='NCHW' (channels first)"
    )


def check_layout(layout: Any) -> str | None:
    if layout not in (None, "NHWC", "NCHW"):
        raise ValueError(f"layout must be 'NHWC', 'NCHW' or None; it is {layout!r}")
    return None if layout is None else str(layout)


def check_image_shape(given: Any) -> tuple[int, int, int] | None:
    if given is None:
        return None
    shape = tuple(given)
    if len(shape) == 2:
        shape = (*shape, 1)
    if len(shape) != 3 or any(not isinstance(s, (int, np.integer)) or s < 1 for s in shape):
        raise ValueError(f"image_shape must be (height, width[, channels]); it is {given!r}")
    return int(shape[0]), int(shape[1]), int(shape[2])


def form_of_array(shape: tuple[int, ...], given: Any, layout: str | None) -> Form:
    """For the training: shape of X; image_shape and layout as the estimator has them."""
    image = check_image_shape(given)
    if len(shape) == 2:
        if image is not None and image[0] * image[1] * image[2] != shape[1]:
            raise ValueError(f"image_shape {given!r} has other than {shape[1]} values")
        return Form(image, 2, image is not None and layout == "NCHW", n_columns=shape[1])
    if len(shape) not in (3, 4):
        raise ValueError(
            f"X has {len(shape)} axes; rows of a table have 2, images 3 or 4: (n, height, width), "
            "(n, height, width, channels) or (n, channels, height, width)"
        )
    first = len(shape) == 4 and _channels_first(shape, layout)
    found = (*shape[1:], 1) if len(shape) == 3 else (*shape[2:], shape[1]) if first else shape[1:]
    if image is not None and image != found:
        raise ValueError(f"image_shape {given!r} is not that of X, whose images have {found}")
    return Form(
        (int(found[0]), int(found[1]), int(found[2])),
        len(shape),
        first,
        n_columns=int(np.prod(found)),
    )


def rows_of_images(values: FloatArray, form: Form, name: str) -> Rows:
    """Rows for a model of images; they may come in any of its shapes."""
    assert form.image is not None
    height, width, channels = form.image
    shape = values.shape[1:]
    if values.ndim == 2 and shape[0] == height * width * channels:
        if not form.channels_first:
            return Rows(values)
        return Rows(values.reshape(len(values), channels, height, width), True)
    if values.ndim == 3 and channels == 1 and shape == (height, width):
        return Rows(values)
    last, first = shape == (height, width, channels), shape == (channels, height, width)
    if last or first:
        return Rows(values, first and (form.channels_first or not last))
    raise ValueError(f"X has rows of shape {shape}, but {name} was fitted on {form.about()}")


# ---- columns of words ----


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)


def _factorize(column: Any) -> tuple[Any, list[str | None]]:
    """Places in a list of different texts; None where a value is missing."""
    places: dict[Any, int] = {}
    texts: list[str | None] = []
    codes = np.empty(len(column), dtype=np.intp)
    known: dict[str | None, int] = {}
    for i, value in enumerate(column):
        try:
            at = places.get(value)
        except TypeError:
            raise ValueError(f"a value of type {type(value).__name__} is no category") from None
        if at is None:
            absent = (
                value is None or value is not value or type(value).__name__ in ("NAType", "NaTType")
            )
            text = None if absent else _text(value)
            if text is not None and text.strip().lower() in _MISSING:
                text = None
            at = known.setdefault(text, len(texts))
            if at == len(texts):
                texts.append(text)
            places[value] = at
        codes[i] = at
    return codes, texts


def _is_frame(X: Any) -> bool:
    return hasattr(X, "iloc") and hasattr(X, "columns")


def _column(X: Any, place: int) -> Any:
    return X.iloc[:, place].array if _is_frame(X) else np.asarray(X)[:, place]


def _of_words(dtype: Any, column: Any) -> bool:
    """Whether a column of a frame holds words: object columns may hold numbers, too."""
    kind = str(dtype)
    if kind == "category" or kind.startswith(("string", "str")):
        return True
    if kind != "object":
        return False
    try:
        column.astype(float)
    except (TypeError, ValueError):
        return True
    return False


def columns_of_words(X: Any, categorical: Any) -> list[int]:
    """Which columns of X hold words: those that are named, or those of a frame that do."""
    if categorical is None:
        return []
    frame = _is_frame(X)
    names = list(X.columns) if frame else []
    if isinstance(categorical, str):
        if categorical != "auto":
            raise ValueError(
                f"categorical must be 'auto', None or a list of columns; it is {categorical!r}"
            )
        if not frame:
            return []
        dtypes = list(X.dtypes)
        return [i for i, dtype in enumerate(dtypes) if _of_words(dtype, X.iloc[:, i])]
    width = len(names) if frame else int(np.shape(X)[1])
    out = set()
    for each in categorical:
        if isinstance(each, str) and each in names:
            out.add(names.index(each))
        elif (
            isinstance(each, (int, np.integer)) and not isinstance(each, bool) and 0 <= each < width
        ):
            out.add(int(each))
        else:
            raise ValueError(f"categorical: {each!r} is no column of X, which has {width}")
    return sorted(out)


def find_words(X: Any, places: Sequence[int]) -> list[Words]:
    """For the training: the values that each of these columns has."""
    frame = _is_frame(X)
    out: list[Words] = []
    shift = 0
    for place in places:
        name = str(X.columns[place]) if frame else f"c{place + 1}"
        _, texts = _factorize(_column(X, place))
        values = sorted(
            {text for text in texts if text is not None}, key=lambda text: text.encode()
        )
        if not values:
            raise ValueError(f"column '{name}' is missing in all rows; leave it out")
        if len(values) > _MOST_VALUES:
            raise ValueError(
                f"column '{name}': {len(values)} different values are too many categories "
                f"({_MOST_VALUES} at most); leave it out"
            )
        longest = max(len(value.encode()) for value in values)
        if longest > _LONGEST_VALUE:
            raise ValueError(
                f"column '{name}': {longest} bytes of text are no category ({_LONGEST_VALUE} at "
                "most); leave it out"
            )
        out.append(Words(place, place + shift, name, tuple(values)))
        shift += len(values) - 1
    return out


def encode_words(X: Any, form: Form, unknown: str, numbers: FloatArray | None) -> FloatArray:
    """The features of a table with columns of words; numbers: its other columns."""
    n = len(X)
    width = form.n_columns + sum(len(word.values) - 1 for word in form.words)
    out = np.zeros((n, width))
    taken = np.zeros(width, dtype=bool)
    for word in form.words:
        taken[word.first : word.first + len(word.values)] = True
        codes, texts = _factorize(_column(X, word.place))
        known = {value: i for i, value in enumerate(word.values)}
        targets = np.array([known.get(text, -1) if text is not None else -2 for text in texts])
        at = targets[codes]
        if (at == -2).any():
            row = int(np.flatnonzero(at == -2)[0])
            raise ValueError(
                f"row {row + 1}, column '{word.column}': the value is missing; fill it in or leave "
                "the row out"
            )
        strange = np.flatnonzero(at == -1)
        if len(strange) and unknown != "ignore":
            count = len(strange)
            what = (
                f"{count} row{' has' if count == 1 else 's have'} in '{word.column}' a value that the "
                f"model has not seen ('{texts[codes[strange[0]]]}'"
                f"{'' if count == 1 else ' first'})"
            )
            if unknown == "error":
                raise ValueError(
                    f"{what}; with handle_unknown='warn' or 'ignore' such a value becomes zeros"
                )
            warnings.warn(f"{what}: zeros", UserWarning, stacklevel=3)
        known_rows = np.flatnonzero(at >= 0)
        out[known_rows, word.first + at[known_rows]] = 1
    if numbers is not None:
        out[:, ~taken] = numbers
    return out


def form_of_file(about: dict[str, Any], total: int) -> Form:
    """Of a model that was trained elsewhere: from what its file says (docs/format.md)."""
    features, image = about["features"], tuple(int(size) for size in about["image"])
    named: list[str] | None = features["names"] if features["named"] else None
    if image[0] > 0:
        ndim = 3 if image[2] == 1 else 4
        return Form((image[0], image[1], image[2]), ndim, n_columns=int(np.prod(image)))
    words: list[Words] = []
    columns: list[str] = []
    shift, at = 0, 0
    for each in features.get("categories", []):
        first, values = int(each["first"]), tuple(each["values"])
        words.append(Words(first - shift, first, each["column"], values))
        columns += (named or [""] * total)[at:first] + [each["column"]]
        at = first + len(values)
        shift += len(values) - 1
    columns += (named or [""] * total)[at:]
    form = Form(columns=columns if named else None, words=words)
    form.n_columns = len(columns)
    return form


# ---- labels ----


def labels_of(y: Any, rows: int) -> tuple[FloatArray, list[str] | None, str]:
    """Labels as the library takes them: numbers, or places in a list of classes; NaN: none."""
    name = getattr(y, "name", None)
    text = name if isinstance(name, str) and name else "y"
    values = getattr(y, "array", y)
    dtype = getattr(values, "dtype", None)
    if dtype is None or not hasattr(values, "__array__"):
        values = np.asarray(values)
        dtype = values.dtype
    if np.ndim(values) == 2 and np.shape(values)[1] == 1:
        values = np.asarray(values)[:, 0]
    if np.ndim(values) != 1 or len(values) != rows:
        raise ValueError(f"y must have one label for each of the {rows} rows")
    if getattr(dtype, "kind", "O") in "iuf":
        return np.ascontiguousarray(values, dtype=np.float64), None, text
    if str(dtype) in ("Int64", "Int32", "Int16", "Int8", "Float64", "Float32"):  # of pandas
        return np.asarray(y.to_numpy(dtype=np.float64, na_value=np.nan)), None, text
    codes, texts = _factorize(values)
    classes = sorted({each for each in texts if each is not None}, key=lambda each: each.encode())
    if not classes:
        raise ValueError("y has no labels: all are missing")
    place = {each: float(i) for i, each in enumerate(classes)}
    table = np.array([np.nan if each is None else place[each] for each in texts])
    return table[codes], classes, text
