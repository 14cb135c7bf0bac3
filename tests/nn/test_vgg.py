import jax
import numpy as np
import pytest
import torch
from reference import torchvision_networks as peers
from safetensors.torch import save_file

from gcnxmodal.errors import InputError
from gcnxmodal.nn.picture_encoders import VGG
from gcnxmodal.nn.weights import Weights, read_weights

NARROW = ((2, 4), (2, 6), (4, 8), (4, 8), (4, 8))


@pytest.fixture(scope="module")
def narrow() -> peers.VGG:
    return peers.with_statistics(peers.VGG(NARROW, hidden=24, classes=5))


def full_size() -> dict[str, torch.Tensor]:
    """Names and shapes of torchvision's vgg19, without memory for them."""
    with torch.device("meta"):
        return peers.VGG().state_dict()


@pytest.mark.parametrize("suffix", ["legacy.pth", "zip.pth", "safetensors"])
def test_features_equal_torchvision(tmp_path, narrow, suffix):
    path = tmp_path / suffix
    if suffix == "safetensors":
        save_file(narrow.state_dict(), path)
    else:
        torch.save(narrow.state_dict(), path, _use_new_zipfile_serialization=suffix == "zip.pth")
    pictures = np.random.default_rng(0).standard_normal((2, 224, 224, 3)).astype(np.float32)
    with torch.inference_mode():
        expected = narrow.fc7(torch.from_numpy(pictures).permute(0, 3, 1, 2)).numpy()
    network = VGG(Weights.read(path, "narrow VGG"), NARROW, features=24)
    found = np.asarray(jax.jit(network)(pictures))
    assert found.shape == (2, 24)
    assert found.dtype == np.float32
    assert (expected > 0).any()
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


def test_full_size_takes_all_tensors_of_vgg19_but_the_last_layer():
    tensors = full_size()
    assert sum(tensor.numel() for tensor in tensors.values()) == 143_667_240, "torchvision's vgg19"
    abstract = {name: jax.ShapeDtypeStruct(tuple(t.shape), np.float32) for name, t in tensors.items()}

    def features(tensors, pictures):
        weights = Weights(tensors, "abstract", "VGG-19")
        network = VGG(weights)
        weights.require_all_taken("classifier.6")
        return network(pictures)

    pictures = jax.ShapeDtypeStruct((3, 224, 224, 3), np.float32)
    assert jax.eval_shape(features, abstract, pictures).shape == (3, VGG.FEATURES)


def test_another_network_is_named_with_file_tensor_and_shapes(tmp_path, narrow):
    path = tmp_path / "narrow.pth"
    torch.save(narrow.state_dict(), path)
    message = r"narrow\.pth: features\.0\.weight has shape \[4, 3, 3, 3\], expected \[64, 3, 3, 3\]; .*VGG-19"
    with pytest.raises(InputError, match=message):
        VGG.load_pretrained(path)
    torch.save(peers.ResNet((1, 1, 1, 1), 4).state_dict(), path)
    with pytest.raises(InputError, match=r"has no tensor 'features\.0\.weight' \(it holds 'conv1\.weight'"):
        VGG.load_pretrained(path)


def test_fewer_layers_are_a_missing_tensor_by_name(narrow):
    tensors = {name: tensor.numpy() for name, tensor in narrow.state_dict().items()}
    with pytest.raises(InputError, match=r"has no tensor 'features\.37\.weight'"):
        VGG(Weights(tensors, "file", "deeper VGG"), (*NARROW, (1, 8)), features=24)


def test_reading_gives_what_was_saved(tmp_path, narrow):
    for name in ("weights.pth", "weights.safetensors"):
        path = tmp_path / name
        (torch.save if name.endswith("pth") else save_file)(narrow.state_dict(), path)
        for tensor, array in read_weights(path).items():
            np.testing.assert_array_equal(array, narrow.state_dict()[tensor].numpy(), strict=True)
