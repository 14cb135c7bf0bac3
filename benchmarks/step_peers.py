"""A whole training step of GIN: ours, and as others would write it, each as well as its library allows.

The same weights, the same batches, the same objective: Eq. 9 on the scores of the pairs, and 1/2 l2 ||.||^2
over the dense layers. Dropout is off in all of them (ours still draws its mask). The data lie on the device;
a step gathers its batch, differentiates, and lets Adam update every parameter in place.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks.graphs import Words
from benchmarks.specs import DATASETS, ORDERS, StepCase, make_gin
from benchmarks.torch_filters import csr_filter, pyg_layer, torch_device
from gcnxmodal.chebyshev import pack
from gcnxmodal.nn.layers import Constant
from gcnxmodal.systems.gin import loss
from gcnxmodal.training.sampling import Plan
from gcnxmodal.training.sharding import named_leaves
from gcnxmodal.training.state import (
    Data,
    SparseRows,
    Step,
    init_state,
    make_adam,
    make_block,
    make_step,
    start_epoch,
)

# GIN Section 3.2, and the metrics of its loss.
LEARNING_RATE, MARGIN, BALANCE, L2 = 1e-3, 0.6, 0.35, 0.005
METRICS = ("loss", "mean_match", "mean_other")
CLASSES = 10
PLANNED = 16  # different batches


@dataclasses.dataclass(frozen=True)
class StepProblem:
    """Training items, batches and initial weights.

    Attributes:
        words: the graph of the words, and the texts.
        images_nd, labels_nC: standard normal features; one class an item.
        texts_SB, images_SB: the items of each batch.
        graphdef: the structure of our model.
        params: its initial weights, the nnx.Param state of `graphdef`.
        constants: what else the model needs: the word graph.
        weights: `params` by name.
    """

    case: StepCase
    words: Words
    images_nd: np.ndarray
    labels_nC: np.ndarray
    texts_SB: np.ndarray
    images_SB: np.ndarray
    graphdef: Any
    params: Any
    constants: Any

    @property
    def weights(self) -> dict[str, np.ndarray]:
        return named(self.params)


def named(params: Any) -> dict[str, np.ndarray]:
    """The arrays of an nnx state by name, such as "text_head.kernel"."""
    return {name.removesuffix(".value"): np.asarray(leaf) for name, leaf in named_leaves(params).items()}


def make_problem(case: StepCase, words: Words, seed: int = 0) -> StepProblem:
    """A step on these words and texts, with random images and classes, and the weights of a seed."""
    random = np.random.default_rng(0)
    shape, n = DATASETS[case.dataset], len(words.counts.indptr) - 1
    layout = pack(words.scaled)
    model = make_gin(
        layout,
        shape.image_size,
        filters=(case.filters, case.filters),
        order=ORDERS,
        dimension=shape.dimension,
        dropout=0.0,
        precision=case.precision,
        rngs=nnx.Rngs(seed),
    )
    graphdef, params, _ = nnx.split(model, nnx.Param, ...)
    texts_SB, images_SB = (random.integers(0, n, (PLANNED, case.batch)) for _ in range(2))
    half = case.batch // 2
    images_SB[:, :half] = texts_SB[:, :half]  # true pairs
    return StepProblem(
        case=case,
        words=words,
        images_nd=random.standard_normal((n, shape.image_size)).astype(np.float32),
        labels_nC=np.eye(CLASSES, dtype=bool)[random.integers(0, CLASSES, n)],
        texts_SB=texts_SB,
        images_SB=images_SB,
        graphdef=graphdef,
        params=params,
        constants=nnx.State({"text": {"graph": Constant(layout)}}),
    )


StepPeer = Callable[[int], Any]
"""`train(steps)`: that many steps on from where it stands; their mean loss (Eq. 9) on the device."""


def make_data(problem: StepProblem) -> Data:
    """The training items and batches on the device."""
    return Data(
        texts_nT=jax.tree.map(jnp.asarray, SparseRows.of(problem.words.counts)),
        images_nd=jnp.asarray(problem.images_nd),
        labels_nC=jnp.asarray(problem.labels_nC),
        constants=problem.constants,
        plan=make_plan(problem),
    )


def make_plan(problem: StepProblem) -> Plan:
    """The batches of the problem."""
    return Plan(*(jnp.asarray(rows, jnp.int32) for rows in (problem.texts_SB, problem.images_SB)))


def optimizer() -> Any:
    return make_adam(LEARNING_RATE)


def our_step(graphdef: nnx.GraphDef) -> Step:
    """`state, metrics = step(state, data, key)`."""
    objective = functools.partial(loss, margin=MARGIN, balance=BALANCE, l2=L2)
    return make_step(graphdef, optimizer(), objective, grid=False)


@functools.cache
def our_block(graphdef: nnx.GraphDef) -> Callable:
    """`state = block(state, data, key, steps)`, compiled once for all problems of a shape."""
    return make_block(our_step(graphdef))


def ours(problem: StepProblem, data: Data | None = None) -> StepPeer:
    """`training.state`: a block of steps as one compiled loop, on `make_data` or on other arrays."""
    block = our_block(problem.graphdef)
    data, key = make_data(problem) if data is None else data, jax.random.key(0)
    # A copy: the first step donates its weights.
    state = init_state(jax.tree.map(jnp.copy, problem.params), optimizer(), METRICS)

    def train(steps: int) -> jax.Array:
        nonlocal state
        state = block(start_epoch(state), data, key, jnp.int32(steps))
        return state.totals["loss"] / steps

    return train


def torch_csr(problem: StepProblem, dtype: str = "float32", device: str | None = None) -> StepPeer:
    """`csr_filter`, the text head on features that need no transposed copy, fused Adam.

    With "float64" on the "cpu" it is the reference of the others.
    """
    import torch

    device = torch_device() if device is None else device
    number = getattr(torch, dtype)
    filter_batch = csr_filter(problem.words.scaled, device, number)
    weights = {
        name: torch.tensor(weight, dtype=number, device=device, requires_grad=True)
        for name, weight in problem.weights.items()
    }
    convolutions = [
        (weights[f"text.convolutions.{layer}.theta"], weights[f"text.convolutions.{layer}.bias"])
        for layer in range(2)
    ]

    def encode_texts(counts_BN):
        x_NBF = counts_BN.T.contiguous()[:, :, None]
        for layer, (theta, bias) in enumerate(convolutions):
            x_NBF = torch.relu(filter_batch(x_NBF, theta, first=layer == 0) + bias)
        x_BV = x_NBF.permute(1, 0, 2).reshape(x_NBF.shape[1], -1)
        return torch.addmm(weights["text_head.bias"], x_BV, weights["text_head.kernel"])

    def encode_images(images_Bd):
        return torch.addmm(weights["image_head.bias"], images_Bd, weights["image_head.kernel"])

    def score(product_BD):
        return (product_BD @ weights["score_head.kernel"] + weights["score_head.bias"])[:, 0]

    filters = [weight for layer in convolutions for weight in layer]
    dense = [weight for name, weight in weights.items() if not name.startswith("text.convolutions")]
    return _torch(problem, encode_texts, encode_images, score, filters, dense, device)


def pyg(problem: StepProblem) -> StepPeer:
    """PyTorch Geometric's ChebConv on a batch [B, N, F], linear layers, fused Adam: as its users write it."""
    import torch

    device, weights = torch_device(), problem.weights
    laplacian, lambda_max = problem.words.laplacian, problem.words.lambda_max
    layers = [
        pyg_layer(laplacian, lambda_max, weights[f"text.convolutions.{layer}.theta"], device, bias=True)
        for layer in range(2)
    ]

    def linear(name: str) -> Any:
        kernel = weights[f"{name}.kernel"]
        layer = torch.nn.Linear(*kernel.shape, device=device)
        with torch.no_grad():
            layer.weight.copy_(torch.tensor(kernel.T))
            layer.bias.copy_(torch.tensor(weights[f"{name}.bias"]))
        return layer

    text_head, image_head, score_head = map(linear, ("text_head", "image_head", "score_head"))

    def encode_texts(counts_BN):
        x_BNF = counts_BN[:, :, None]
        for _, apply in layers:
            x_BNF = torch.relu(apply(x_BNF))
        return text_head(x_BNF.flatten(1))

    filters = [weight for layer, _ in layers for weight in layer.parameters()]
    dense = [weight for head in (text_head, image_head, score_head) for weight in head.parameters()]

    def score(product_BD):
        return score_head(product_BD)[:, 0]

    return _torch(problem, encode_texts, image_head, score, filters, dense, device)


def _torch(
    problem: StepProblem,
    encode_texts: Callable,
    encode_images: Callable,
    score: Callable,
    filters: list,
    dense: list,
    device: str,
) -> StepPeer:
    import torch

    number = dense[0].dtype
    counts_nN, images_nd = (
        torch.tensor(a, dtype=number, device=device)
        for a in (problem.words.counts.toarray(), problem.images_nd)
    )
    labels_nC = torch.tensor(problem.labels_nC, device=device)
    texts_SB, images_SB = (torch.tensor(a, device=device) for a in (problem.texts_SB, problem.images_SB))
    # Adam's weight decay is the gradient of the L2 term, for less: its value is not needed.
    groups = [{"params": dense, "weight_decay": L2}, {"params": filters}]
    adam = torch.optim.Adam(groups, lr=LEARNING_RATE, fused=True)
    done = 0

    def moments(scores, chosen):
        weight = chosen.to(number)
        count = weight.sum().clamp(min=1)
        mean = (weight * scores).sum() / count
        return mean, (weight * (scores - mean) ** 2).sum() / count

    def train(steps: int) -> Any:
        nonlocal done
        total = torch.zeros((), dtype=number, device=device)
        for _ in range(steps):
            texts, images = texts_SB[done % PLANNED], images_SB[done % PLANNED]
            match = (labels_nC[texts] & labels_nC[images]).any(dim=1)
            scores = score(encode_texts(counts_nN[texts]) * encode_images(images_nd[images]))
            mean_match, variance_match = moments(scores, match)
            mean_other, variance_other = moments(scores, ~match)
            hinge = torch.relu(MARGIN - (mean_match - mean_other))
            loss = variance_match + variance_other + BALANCE * hinge
            adam.zero_grad(set_to_none=True)
            loss.backward()
            adam.step()
            total += loss.detach()
            done += 1
        return total / steps

    return train


STEP_PEERS: dict[str, Callable[[StepProblem], StepPeer]] = {
    "ours": ours,
    "PyTorch, CSR, fused Adam": torch_csr,
    "PyG, fused Adam": pyg,
}
