import jax
import numpy as np
import pytest
import torch
from reference import torchvision_networks as peers

from gcnxmodal.errors import InputError
from gcnxmodal.nn.picture_encoders import ResNet
from gcnxmodal.nn.weights import Weights


def weights_of(network: torch.nn.Module) -> Weights:
    return Weights({name: t.numpy() for name, t in network.state_dict().items()}, "peer", "ResNet-50")


# 224: as it was trained. 97: every stride meets an odd side.
@pytest.mark.parametrize("resolution", [224, 97])
def test_features_equal_torchvision(resolution):
    peer = peers.with_statistics(peers.ResNet(width=8, classes=5))
    pictures = np.random.default_rng(0).standard_normal((2, resolution, resolution, 3)).astype(np.float32)
    with torch.inference_mode():
        expected = peer.pooled(torch.from_numpy(pictures).permute(0, 3, 1, 2)).numpy()
    found = np.asarray(jax.jit(ResNet(weights_of(peer), width=8))(pictures))
    assert found.shape == (2, 256)
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


def test_full_size_takes_all_tensors_of_resnet50_but_the_last_layer(tmp_path):
    peer = peers.ResNet()
    assert sum(tensor.numel() for tensor in peer.parameters()) == 25_557_032, "torchvision's resnet50"
    torch.save(peer.state_dict(), tmp_path / "resnet50.pth")
    network = ResNet.load_pretrained(tmp_path / "resnet50.pth")
    pictures = jax.ShapeDtypeStruct((3, 224, 224, 3), np.float32)
    assert jax.eval_shape(network, pictures).shape == (3, ResNet.FEATURES)


def test_a_deeper_network_of_the_family_is_not_cut_to_this_one():
    weights = weights_of(peers.ResNet((3, 4, 7, 3), 4))
    ResNet(weights, width=4)
    with pytest.raises(InputError, match=r"has the tensor 'layer3\.6\.conv1\.weight', which a ResNet-50 has"):
        weights.require_all_taken("fc")


def test_another_shape_is_named_with_file_tensor_and_shapes(tmp_path):
    path = tmp_path / "narrow.pth"
    torch.save(peers.ResNet(width=4).state_dict(), path)
    message = r"narrow\.pth: conv1\.weight has shape \[4, 3, 7, 7\], expected \[64, 3, 7, 7\]; .*ResNet-50"
    with pytest.raises(InputError, match=message):
        ResNet.load_pretrained(path)


def test_pixels_are_normalised_by_the_mean_and_deviation_of_imagenet():
    pixels = np.array([[[0, 0, 0]], [[255, 255, 255]], [[124, 116, 104]]], np.uint8)
    found = np.asarray(ResNet.normalise(pixels))
    np.testing.assert_allclose(found[0, 0], [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225], rtol=1e-6)
    np.testing.assert_allclose(found[1, 0], [0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225], rtol=1e-6)
    assert np.abs(found[2]).max() < 0.02
