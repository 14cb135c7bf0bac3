"""VGG and ResNet in plain torch.nn, layer for layer and name for name as torchvision has them.

torchvision itself is no dependency: its wheel needs the CUDA build of PyTorch. Width and depth are arguments.
"""

import torch
from torch import nn


class VGG(nn.Module):
    """torchvision.models.vgg19 (configuration E, without batch normalisation)."""

    def __init__(self, stages=((2, 64), (2, 128), (4, 256), (4, 512), (4, 512)), hidden=4096, classes=1000):
        super().__init__()
        layers, channels = [], 3
        for repeats, out_channels in stages:
            for _ in range(repeats):
                layers += [nn.Conv2d(channels, out_channels, 3, padding=1), nn.ReLU()]
                channels = out_channels
            layers.append(nn.MaxPool2d(2, 2))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            *(nn.Linear(channels * 7 * 7, hidden), nn.ReLU(), nn.Dropout()),
            *(nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout()),
            nn.Linear(hidden, classes),
        )

    def fc7(self, x_BCHW):
        return self.classifier[:5](torch.flatten(self.avgpool(self.features(x_BCHW)), 1))


class Bottleneck(nn.Module):
    """torchvision.models.resnet.Bottleneck: the stride is in the 3 x 3 convolution."""

    def __init__(self, in_channels, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * 4, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * 4)
        self.downsample = None
        if stride != 1 or in_channels != width * 4:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, width * 4, 1, stride, bias=False), nn.BatchNorm2d(width * 4)
            )

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """torchvision.models.resnet50."""

    def __init__(self, blocks=(3, 4, 6, 3), width=64, classes=1000):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        channels = width
        for stage, repeats in enumerate(blocks):
            layers = []
            for block in range(repeats):
                stride = 2 if stage > 0 and block == 0 else 1
                layers.append(Bottleneck(channels, width * 2**stage, stride))
                channels = width * 2**stage * 4
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layers))
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(channels, classes)

    def pooled(self, x_BCHW):
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x_BCHW))))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return torch.flatten(self.avgpool(x), 1)


def with_statistics(network: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights of a size that keeps activations near 1, and batch norms whose statistics do much."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                fan_in = module.weight[0].numel()
                module.weight.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
                if module.bias is not None:
                    module.bias.uniform_(-0.5, 0.5, generator=generator)
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.uniform_(-0.5, 0.5, generator=generator)
                module.running_mean.uniform_(-0.5, 0.5, generator=generator)
                module.running_var.uniform_(0.2, 4.0, generator=generator)
    return network.eval()
