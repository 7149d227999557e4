#!/usr/bin/env python3
"""Writes docs/python.md from the docstrings of the installed package.

    build/python-venv/bin/python scripts/python-docs.py [FILE]

The package's tests compare the file with what this would write.
"""

import inspect
import re
import sys
from pathlib import Path

import isovae

HEAD = """# isovae for Python

<!-- Written by scripts/python-docs.py from the docstrings; do not edit. -->

    pip install .                      in the repository: builds the C library with CMake
    make wheel                         dist/: a wheel that needs nothing but numpy and scikit-learn

```python
import isovae
from isovae import IsoVAE, IsoVAEDetector

model = IsoVAE(n_components=10, random_state=0).fit(X)   # X: rows of numbers, or a data frame
print(model.report_)                # the report that `isovae report` prints
model.explained_variance_ratio_     # beside PCA's
model.components_                   # loadings: what one SD of each latent moves
model.transform(X)                  # latents; transform_isometric(X): distances as in the data
model.score_samples(X)              # log densities in nats, higher = more probable
model.save("m.safetensors")         # the same file as of the command and the C library

IsoVAEDetector(random_state=0).fit_predict(X)            # 1, and -1 for outliers

print(isovae.audit(vae.encode, vae.decode, x_test))      # a VAE of PyTorch, JAX or Keras, or ONNX files
```

Images and columns of words come as they are:

```python
IsoVAE(arch="conv-small").fit(images)       # bytes or floats: (n, h, w), (n, h, w, c), (n, c, h, w)
IsoVAE(scale="standard").fit(frame)         # a column of words: a feature for each of its values
model.make_report(X, y)                     # y: labels; how well does each latent know them?
```

What takes many trainings, or two sets of rows:

```python
import isovae

isovae.sweep(X, IsoVAE(8), target="r2=0.9").beta_           # which beta; .n_active_, .estimator_
print(isovae.stability(X, IsoVAE(8), runs=10).summary_)     # which latents are found again
isovae.drift(model, X, later).found_                        # have rows changed?
isovae.prune(model, X)                                      # without its collapsed latents
isovae.export_onnx(model, "folder")                         # encoder.onnx, decoder.onnx, scorer.onnx
```

What holds everywhere:

- Estimators are scikit-learn's: `clone`, `Pipeline`, `GridSearchCV`, `set_output`, pickling (a model
  pickles as the bytes of its file). Both pass all of scikit-learn's `check_estimator`.
- The package is a thin layer over `libisovae.so` by ctypes: the interpreter's lock is free while the
  library works, one wheel serves every Python of a platform, and nothing is compiled against a version
  of Python or numpy. `transform`, `score_samples` and the like read arrays of float or double where they
  lie, of any layout; `fit` makes one copy, in single precision, in which all is computed.
- Ctrl-C stops a fit, a report, a sweep and the others at their next step with `KeyboardInterrupt`.
  Nothing is kept of it but what `checkpoint` (of `fit`), `state` (of `sweep`) and `folder` (of
  `stability`) name, from which the same call goes on. `callback(stage, done, total)` is told how far
  work is; what it raises ends it.
- Images are arrays of 3 or 4 axes, or flat rows with `image_shape`. Bytes (uint8) are scaled by 255,
  floats from 0 to 1 are taken as they are, as the command does it; other floats are centred. Results
  have the shape of the rows of `fit` and their units: bytes come back as floats from 0 to 255. A model
  that was loaded gives (n, h, w) or (n, h, w, c), and takes all shapes that fit. Arrays whose rows lie
  in order are read in place, and `fit` keeps bytes as bytes; channels first is rearranged on the way.
- Words are one-hot as with `--categorical`: the values ascend by their bytes, "", "?", "NA", "NaN" and
  "null" are missing, and the model file knows the columns, so that the command and Python score the
  same table. `components_`, `inverse_transform` and `sample` then have a column for each value.
- Equal rows, parameters and seeds give equal bytes, for any `n_jobs`.
- Errors of the library are `IsoVAEValueError` (a `ValueError`: parameters, arrays, files),
  `IsoVAERuntimeError` (`RuntimeError`: training diverged, or the model cannot do that),
  `IsoVAEMemoryError` (`MemoryError`) and `IsoVAEIOError` (`OSError`), all of them `IsoVAEError`.
- No sample weights: `fit(X, sample_weight=w)` is refused. Missing values are refused, too.
- scikit-learn's and PyOD's conventions for outliers have opposite signs under the same names, so there
  are two classes: `IsoVAEDetector` and `IsoVAEPyOD`.
- What the command has and the estimators leave to Python: `--columns`, `--drop`, `--id`, `--size`,
  `--crop`, `--grey` (choose from your own array or frame), `--missing row` (rows with holes are
  refused, as scikit-learn has it: impute or drop them), `--split-by` and `--validation FILE`
  (`validation_data=`), `--truth-density` (compare with `score_samples`), `--memory` and `--cache` (data larger than memory: the command streams them;
  `IsoVAE.load` then takes its model), `--fpr` (`contamination`), `--isa` (`ISOVAE_ISA`), `--log` and
  `--tensorboard` (`callback`), `--csv` (`Report.to_frame`), `traverse` (a grid of
  `inverse_transform_isometric`), `--member` but for reports (scores are means over members).
- Environment: `ISOVAE_LIBRARY`, another libisovae.so than the package's; `ISOVAE_ISA`, the instruction
  set.

"""

FUNCTIONS = ("audit", "audit_checkpoints", "sweep", "stability", "drift", "prune", "export_onnx")


def sections(doc):
    """The numpy-style parts of a docstring: [(title, lines)], the summary under ""."""
    lines = inspect.cleandoc(doc).split("\n")
    out = [("", [])]
    place = 0
    while place < len(lines):
        under = lines[place + 1] if place + 1 < len(lines) else ""
        if under and set(under) == {"-"}:
            out.append((lines[place], []))
            place += 2
        else:
            out[-1][1].append(lines[place])
            place += 1
    return out


def code(text):
    """A text that stands in Markdown as it is: < would be HTML."""
    return text.replace("<", "&lt;")


def entries(lines):
    """`name : type` and the indented text below it, as a list."""
    out = []
    for line in lines:
        if line and not line.startswith(" "):
            name, _, kind = line.partition(" : ")
            out.append([name, kind, []])
        elif out:
            out[-1][2].append(line.strip())
    text = ""
    for name, kind, about in out:
        body = code(" ".join(word for word in about if word))
        text += (
            f"- **`{name}`**"
            + (f" ({code(kind)})" if kind else "")
            + (f": {body}" if body else "")
            + "\n"
        )
    return text


def render(doc, level):
    text = ""
    for title, lines in sections(doc):
        body = "\n".join(lines).strip("\n")
        if title == "":
            text += code(body) + "\n\n"
        elif title == "Examples":
            text += f"```python\n{re.sub(r'  +# doctest.*', '', body)}\n```\n\n"
        elif title in ("Parameters", "Attributes"):
            text += f"{title}:\n\n{entries(lines)}\n"
        elif title == "Returns":
            text += f"Returns:\n\n{entries(lines)}\n"
        elif title == "See Also":
            text += "See also: " + code(body) + "\n\n"
        else:
            text += code(body) + "\n\n"
    return text


def signature(function):
    plain = inspect.signature(function)
    parameters = [
        p.replace(annotation=inspect.Parameter.empty)
        for name, p in plain.parameters.items()
        if name not in ("self", "cls")
    ]
    return str(plain.replace(parameters=parameters, return_annotation=inspect.Signature.empty))


def methods(kind):
    """Own ones and those of the package's base classes, in the order of their definition."""
    found = {}
    for base in kind.__mro__:
        if base.__module__.startswith("isovae"):
            for name in vars(base):
                if not name.startswith("_") and callable(getattr(kind, name)):
                    found.setdefault(name, getattr(kind, name))
    return found


def page():
    text = HEAD
    for name in ("IsoVAE", "IsoVAEDetector", "IsoVAEPyOD", "Report"):
        text += about(name)
    for name in FUNCTIONS:
        function = getattr(isovae, name)
        text += f"## {name}{signature(function)}\n\n{render(function.__doc__, 3)}"
    for name in ("CheckpointTable", "Sweep", "Stability", "Drift"):
        text += about(name)
    return re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"


def about(name):
    kind = getattr(isovae, name)
    text = f"## {name}\n\n{render(kind.__doc__, 3)}"
    for method, function in methods(kind).items():
        text += f"### {name}.{method}{signature(function)}\n\n{render(function.__doc__, 4)}"
    return text


if __name__ == "__main__":
    target = sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1] / "docs/python.md"
    Path(target).write_text(page(), encoding="utf-8")
