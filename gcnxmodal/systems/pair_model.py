"""From a configuration to its model: which path reads the texts, which the images, and what joins them."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float

from gcnxmodal.graph.layout import SparseLayout
from gcnxmodal.nn.image_encoders import CNN5
from gcnxmodal.nn.layers import Constant, Features
from gcnxmodal.nn.text_encoders import CNNText, GraphText, LSTMText
from gcnxmodal.systems.dual_path import DualPath
from gcnxmodal.systems.pair_config import ModelConfig
from gcnxmodal.systems.scanet_model import SCANet
from gcnxmodal.training import sharding


class Surroundings(NamedTuple):
    """What a model stands on, and does not train.

    Attributes:
        layout: the scaled Laplacian of the word graph.
        vectors: word vectors [N, e].
        image_shape: of one image as it is given: (d,) features or (R, R, 3) pixels.
    """

    layout: SparseLayout
    vectors: Float[Array, "N e"]
    image_shape: tuple[int, ...]


def _gcn(around: Surroundings, config: ModelConfig, rngs: nnx.Rngs) -> GraphText:
    return GraphText(around.layout, config.filters, config.order, rngs=rngs)


def _lstm(around: Surroundings, config: ModelConfig, rngs: nnx.Rngs) -> LSTMText:
    return LSTMText(around.vectors, config.hidden, precision=config.precision, rngs=rngs)


def _cnn(around: Surroundings, config: ModelConfig, rngs: nnx.Rngs) -> CNNText:
    return CNNText(around.vectors, precision=config.precision, rngs=rngs)


TEXT_PATHS: dict[str, Callable[[Surroundings, ModelConfig, nnx.Rngs], Any]] = {
    "gcn": _gcn,
    "lstm": _lstm,
    "cnn": _cnn,
}
"""A new text path is its file in `models/`, its line here and its name in `ModelConfig.text`."""


def make_model(
    around: Surroundings, config: ModelConfig, rngs: nnx.Rngs, kind: Callable[..., SCANet] = SCANet
) -> SCANet:
    """The model with its first parameters."""
    text = TEXT_PATHS[config.text](around, config, rngs)
    if len(around.image_shape) == 3:
        image = CNN5(around.image_shape[0], precision=config.precision, rngs=rngs)
    else:
        image = Features(*around.image_shape)
    return kind(
        text,
        image,
        layers=config.attention_layers,
        attention_scale=config.attention_scale,
        attention_relu=config.attention_relu,
        dimension=config.dimension,
        dropout=config.dropout,
        normalise=config.normalise,
        score_activation=config.score_activation,
        precision=config.precision,
        rngs=rngs,
    )


def abstract_model(around: Surroundings, config: ModelConfig, mesh: Mesh | None = None) -> SCANet:
    """The model with shapes in place of its parameters; with a mesh, as it is trained there."""
    kind = SCANet if mesh is None or config.text != "gcn" else partial(_OnMesh, mesh=mesh)
    return nnx.eval_shape(lambda: make_model(around, config, nnx.Rngs(0), kind))


def constants_of(around: Surroundings, config: ModelConfig) -> nnx.State:
    """The arrays of the model that are not trained: what `nnx.split` leaves beside the parameters."""
    held = {"graph": around.layout} if config.text == "gcn" else {"vectors": around.vectors}
    return nnx.State({"text": {name: Constant(value) for name, value in held.items()}})


class _OnMesh(SCANet):
    """The model in training: the same numbers, its text path written for each device of a mesh.

    Of the other text paths, whose features are few, the compiler works out by itself what lies where.
    """

    def __init__(self, *args: Any, mesh: Mesh, **options: Any):
        super().__init__(*args, **options)
        self.mesh = mesh

    def encode_texts(self, texts_BT: Float[Array, "B N"]) -> Float[Array, "B D"]:
        path = nnx.Dict(text=self.text, text_head=self.text_head)
        graphdef, params, constants = nnx.split(path, nnx.Param, ...)

        def part(params: Any, constants: Any, texts_bT: Array, all_rows: Callable) -> Array:
            path = nnx.merge(graphdef, params, constants)
            multiply = path.text_head.dot_general
            path.text_head.dot_general = lambda x, *more, **options: multiply(all_rows(x), *more, **options)
            return path.text_head(path.text(texts_bT))

        # A device has some columns; the length of a row, if it is scaled, is that of all.
        return self.scaled(sharding.over_mesh(part, self.mesh, params, constants, texts_BT))


def split_model(model: DualPath) -> tuple[nnx.GraphDef, Any]:
    """(structure, parameters)."""
    graphdef, params, _ = nnx.split(model, nnx.Param, ...)
    return graphdef, params
