"""CNN-F, the image encoder of deep hashing that is trained from pixels, and the file of its weights.

Chatfield et al. 2014, "Return of the Devil in the Details", Table 1, row CNN-F (VGG-F), without its fc8.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Num

from gcnxmodal.data.arrays import load_structures
from gcnxmodal.errors import InputError
from gcnxmodal.nn.layers import Constant, Precision, Window, linear
from gcnxmodal.nn.weights import Weights, read_weights

RESOLUTION = 224
FEATURES = 4096
# (side of the window, stride); conv2 to conv5 are padded to keep the size of the map.
_WINDOWS = ((11, 4), (5, 1), (3, 1), (3, 1), (3, 1))
_FILTERS = (64, 256, 256, 256, 256)
_POOLED = (0, 1, 4)  # conv1, conv2 and conv5 end with a maximum
_NORMALISED = (0, 1)  # conv1 and conv2 end with a response normalisation, before the maximum
_LAST_SIDE = 6  # of the map after conv5
# RGB; the mean over all positions of the `averageImage` that is published with the weights.
MEAN = (122.803, 114.885, 101.572)


class CNNF(nnx.Module):
    """Pictures to the activations of fc7.

        x - mean -> conv1 -> relu -> lrn -> max -> conv2 -> relu -> lrn -> max
                 -> conv3 -> relu -> conv4 -> relu -> conv5 -> relu -> max -> fc6 -> relu -> fc7 -> relu

    Source: Chatfield et al. 2014, Table 1; sizes and paddings as in the published MatConvNet file.

    Args:
        precision: of all products, see `nn/layers.py`.
        filters, features: of the convolutions, and size of fc6 and fc7; the published ones by default.
    """

    # Paper: all weights from one Gaussian; here He's and Glorot's for the layers' sizes, because without
    # weights from a file training would hardly start. And "drop-out" on fc6 and fc7; here none, as in GCH.
    def __init__(
        self,
        *,
        precision: Precision = "float32",
        filters: tuple[int, ...] = _FILTERS,
        features: int = FEATURES,
        rngs: nnx.Rngs,
    ):
        self.mean = Constant(jnp.broadcast_to(jnp.asarray(MEAN), (RESOLUTION, RESOLUTION, 3)))
        options: Any = {"kernel_init": nnx.initializers.he_uniform(), "precision": precision, "rngs": rngs}
        self.convolutions = nnx.List()
        for (side, stride), before, after in zip(_WINDOWS, (3, *filters), filters, strict=False):
            padding = "VALID" if stride > 1 else "SAME"
            window = Window((side, side), before, after, stride=stride, padding=padding, **options)
            self.convolutions.append(window)
        self.fc6 = linear(_LAST_SIDE**2 * filters[-1], features, precision, rngs)
        self.fc7 = linear(features, features, precision, rngs)
        self.width = features

    def __call__(self, pixels_B: Num[Array, "B 224 224 3"]) -> Float[Array, "B features"]:
        """fc7 of RGB pictures, 0 to 255."""
        x_BHWC = pixels_B.astype(jnp.float32) - self.mean.get_value()
        for number, convolution in enumerate(self.convolutions):
            x_BHWC = jax.nn.relu(convolution(x_BHWC))
            if number in _NORMALISED:
                x_BHWC = local_response_normalisation(x_BHWC)
            if number in _POOLED:
                x_BHWC = max_pool(x_BHWC)
        return jax.nn.relu(self.fc7(jax.nn.relu(self.fc6(x_BHWC.reshape(len(x_BHWC), -1)))))

    def load_weights(self, path: Path) -> None:
        """Take all weights from a file, and the mean picture where it has one; or none.

        The file is MatConvNet's `imagenet-vgg-f.mat`, or a safetensors file of the same arrays, named
        conv1.weight [11, 11, 3, 64], conv1.bias [64], ..., fc7.bias, and mean [224, 224, 3] or one colour.

        Raises:
            InputError: if it cannot be read or holds the weights of another network: file, tensor, shapes.
        """
        for parameter, array in self._read(path):
            parameter.set_value(jnp.asarray(array))

    def _read(self, path: Path) -> list[tuple[nnx.Variable, np.ndarray]]:
        """Each variable with its new value; the shapes agree."""
        tensors = read_matconvnet(path) if path.suffix == ".mat" else read_weights(path)
        mean = tensors.get("mean")
        if mean is not None and mean.size == 3:  # one colour, for each position
            tensors = {**tensors, "mean": np.broadcast_to(mean.reshape(3), self.mean.get_value().shape)}
        weights, new_values = Weights(tensors, str(path), "CNN-F"), []
        layers = {f"conv{number}": layer for number, layer in enumerate(self.convolutions, 1)}
        for name, layer in {**layers, "fc6": self.fc6, "fc7": self.fc7}.items():
            shape = layer.kernel.get_value().shape
            # A matrix on a whole map is a convolution with one position, and kept as one.
            side = {"fc6": _LAST_SIDE, "fc7": 1}.get(name)
            named = shape if side is None else (side, side, shape[0] // side**2, shape[1])
            new_values.append((layer.kernel, weights.take(f"{name}.weight", named).reshape(shape)))
            new_values.append((layer.bias, weights.take(f"{name}.bias", shape[-1:])))
        if mean is not None:
            new_values.append((self.mean, weights.take("mean", self.mean.get_value().shape)))
        weights.require_all_taken("fc8")
        return new_values


def local_response_normalisation(
    x_BHWC: Float[Array, "B H W C"], *, window: int = 5, kappa: float = 2.0, alpha: float = 1e-4
) -> Float[Array, "B H W C"]:
    """y_c = x_c / (kappa + alpha sum_j x_j^2)^(3/4) over the `window` channels j around c.

    The sum is not divided by their number, as MatConvNet's `vl_nnnormalize` and unlike Caffe and PyTorch.

    Source: Krizhevsky et al. 2012, Section 3.3, which has these values.
    """
    C = x_BHWC.shape[-1]
    beside = ((window - 1) // 2, window // 2)
    squares = jnp.pad(x_BHWC**2, ((0, 0), (0, 0), (0, 0), beside))
    sums = sum(squares[..., start : start + C] for start in range(window))
    base = kappa + alpha * sums
    return x_BHWC * jax.lax.rsqrt(base * jnp.sqrt(base))


def max_pool(x_BHWC: Float[Array, "B H W C"]) -> Float[Array, "B h w C"]:
    """The largest of each 3 x 3, every second row and column, h = H // 2.

    MatConvNet's padding [0 1 0 1]: the last window may reach one row below, and one column beyond, the map.
    """
    for axis in (1, 2):
        size = x_BHWC.shape[axis] // 2
        beyond = 2 * size + 1 - x_BHWC.shape[axis]  # 1 if the number of rows is even
        pads = [(0, beyond if a == axis else 0) for a in range(4)]
        x = jnp.pad(x_BHWC, pads, constant_values=-jnp.inf)
        # Not a reduce_window: its gradient, a select-and-scatter, is slow on every platform.
        shifted = [
            jax.lax.slice_in_dim(x, start, start + 2 * size - 1, stride=2, axis=axis) for start in range(3)
        ]
        x_BHWC = jnp.maximum(jnp.maximum(shifted[0], shifted[1]), shifted[2])
    return x_BHWC


def read_matconvnet(path: Path) -> dict[str, np.ndarray]:
    """{"conv1.weight": filters [H, W, C, F], "conv1.bias": [F], ..., "mean": [H, W, 3]} of a `.mat` file.

    MatConvNet saves a cell array `layers` of structs with the fields `name` and `weights` = {filters, biases}
    (before beta 16, `filters` and `biases` themselves), and `meta.normalization.averageImage` (before beta
    17, `normalization.averageImage`), in MATLAB's version 7 or older.

    Nothing in the file is executed: SciPy reads a table of arrays.

    Raises:
        InputError: if the file cannot be read, is of version 7.3 (HDF5), or is not of MatConvNet.
    """
    content = load_structures(path, ("layers", "meta", "normalization"), "give the file of the weights")
    tensors = dict(_layers(content.get("layers")))
    if not tensors:
        raise InputError(
            f"{path}: has no cell array `layers` with weights; give a network that MatConvNet saved"
        )
    for holder in (_field(content.get("meta"), "normalization"), content.get("normalization")):
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
