"""The published weights of a network: from a file the user names to arrays of the shapes it must have."""

from collections.abc import Mapping
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load_file

from gcnxmodal.errors import InputError
from gcnxmodal.nn.torch_weights import RefusedError, read_torch_weights


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """{name: array} of a PyTorch state dict (both layouts) or a safetensors file, told apart by content.

    Nothing in the file is executed: see torch_weights.py; a safetensors file is a table and numbers.

    Raises:
        InputError: if the file is missing, damaged, or neither; of a state dict also if it holds anything but
            named dense tensors. The message gives the file and what was refused.
    """
    kind = "PyTorch state dict"
    try:
        with path.open("rb") as file:
            start = file.read(9)
        if start[8:] == b"{":  # after 8 bytes of length a JSON object; PyTorch's layouts have none there
            kind = "safetensors file"
            return load_file(path)
        return read_torch_weights(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"{path}: the weights cannot be read ({error.strerror}); give an existing file"
        ) from error
    except RefusedError as error:
        raise InputError(
            f"{path}: {error}; save only `model.state_dict()`, and trust no file that needs more"
        ) from None
    except Exception as error:  # whatever a damaged file makes a parser raise, its reader learns the same
        raise InputError(
            f"{path}: not a whole {kind} ({type(error).__name__}: {error}); fetch the file again"
        ) from error


class Weights:
    """The tensors of one network, each taken by name and checked for its shape.

    Args:
        tensors: {name: array}.
        source: what to call them in messages, such as the path of their file.
        network: what they must be the weights of, such as "VGG-19".
    """

    def __init__(self, tensors: Mapping[str, np.ndarray], source: str, network: str) -> None:
        self._tensors = tensors
        self._source = source
        self._network = network
        self._taken: set[str] = set()

    @classmethod
    def read(cls, path: Path, network: str) -> "Weights":
        """Those of a file. Raises InputError if it cannot be read."""
        return cls(read_weights(path), str(path), network)

    def take(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """The tensor `name` as float32.

        Raises:
            InputError: if there is none, or it has another shape or holds no floating-point numbers.
        """
        if name not in self._tensors:
            holds = f"'{next(iter(self._tensors))}', ..." if self._tensors else "nothing"
            raise self._error(f"has no tensor '{name}' (it holds {holds})")
        array = self._tensors[name]
        if array.shape != shape:
            raise self._error(f"{name} has shape {list(array.shape)}, expected {list(shape)}")
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise self._error(f"{name} is {array.dtype}, expected floating-point numbers")
        self._taken.add(name)
        return array.astype(np.float32, copy=False)

    def take_normalised(
        self, convolution: str, norm: str, shape: tuple[int, ...], epsilon: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """A convolution without bias and the batch normalisation behind it, folded into one.

        norm(conv(x)) = gamma (conv(x) - mean) / sqrt(var + epsilon) + beta.

        Returns:
            weight [F, C, K, K] and bias [F].
        """
        weight_FCKK = self.take(f"{convolution}.weight", shape)
        gamma_F, beta_F, mean_F, variance_F = (
            self.take(f"{norm}.{part}", shape[:1]).astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale_F = gamma_F / np.sqrt(variance_F + epsilon)
        folded_FCKK = weight_FCKK * scale_F[:, None, None, None]
        return folded_FCKK.astype(np.float32), (beta_F - mean_F * scale_F).astype(np.float32)

    def require_all_taken(self, *unused: str) -> None:
        """All tensors have been taken but those of the modules `unused` and the step counts of norms.

        A deeper network of the same family has all the tensors of a shallower one, and more.

        Raises:
            InputError: if there is another one.
        """
        for name in self._tensors:
            known = name.startswith(tuple(f"{module}." for module in unused))
            if name not in self._taken and not known and not name.endswith(".num_batches_tracked"):
                raise self._error(f"has the tensor '{name}', which a {self._network} has not")

    def _error(self, problem: str) -> InputError:
        return InputError(f"{self._source}: {problem}; give the weights of a {self._network}")
