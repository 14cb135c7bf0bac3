"""Networks that MatConvNet saved (`.mat`, version 7 or older): their filters, biases and mean picture.

Such a file has a cell array `layers` of structs with the fields `name` and `weights` = {filters, biases}
(before beta 16, `filters` and `biases` themselves), and `meta.normalization.averageImage` (before beta 17,
`normalization.averageImage`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io

from gcnxmodal.errors import InputError


def read_matconvnet(path: Path) -> dict[str, np.ndarray]:
    """{"conv1.weight": filters [H, W, C, F], "conv1.bias": [F], ..., "mean": [H, W, 3]} of a file.

    Nothing in the file is executed: SciPy reads a table of arrays.

    Raises:
        InputError: if the file cannot be read, is of version 7.3 (HDF5), or is not of MatConvNet.
    """
    try:
        with path.open("rb") as file:
            found = scipy.io.loadmat(file, variable_names=["layers", "meta", "normalization"])
    except OSError as error:
        raise InputError(
            f"{path}: the weights cannot be read ({error.strerror or error}); give an existing file"
        ) from error
    except NotImplementedError as error:
        raise InputError(f"{path}: is a MATLAB 7.3 file; save it with save(..., '-v7')") from error
    except Exception as error:  # whatever a damaged file makes a parser raise, its reader learns the same
        raise InputError(
            f"{path}: cannot be read as a MATLAB file ({type(error).__name__}: {error}); fetch it again"
        ) from error
    tensors = dict(_layers(found.get("layers")))
    if not tensors:
        raise InputError(
            f"{path}: has no cell array `layers` with weights; give a network that MatConvNet saved"
        )
    for holder in (_field(found.get("meta"), "normalization"), found.get("normalization")):
        mean = _field(holder, "averageImage")
        if isinstance(mean, np.ndarray) and mean.size:
            tensors["mean"] = mean
    return tensors


def _layers(cells: Any) -> Iterator[tuple[str, np.ndarray]]:
    for layer in [] if cells is None else np.ravel(cells):
        name, weights = _field(layer, "name"), _field(layer, "weights")
        if weights is None:
            pair = [_field(layer, "filters"), _field(layer, "biases")]
        else:
            pair = list(np.ravel(weights))  # the cells, or nothing for a layer without weights
        if name is None or np.size(name) == 0 or len(pair) < 2 or pair[0] is None or pair[1] is None:
            continue
        yield f"{np.ravel(name)[0]}.weight", np.asarray(pair[0])
        yield f"{np.ravel(name)[0]}.bias", np.ravel(pair[1])


def _field(struct: Any, name: str) -> Any:
    """A field of a 1 x 1 struct; None if there is none."""
    if not isinstance(struct, np.ndarray | np.void) or name not in (struct.dtype.names or ()):
        return None
    value = struct[name]
    # A struct is an array of records, whose fields are arrays of objects.
    return value.flat[0] if isinstance(struct, np.ndarray) and value.size else value
