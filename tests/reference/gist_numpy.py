"""Gist of one 256 x 256 picture, step by step as the authors' LMgist.m, in float64 and centred spectra."""

import numpy as np


def gist(image):
    scaled = image - image.min()
    scaled = 255 * scaled / scaled.max()
    return filtered(prefiltered(scaled))


def prefiltered(image, border=5, cycles=4):
    x = np.pad(np.log(image + 1), border, mode="symmetric")
    n = len(x)
    fx, fy = np.meshgrid(np.arange(-n // 2, n // 2), np.arange(-n // 2, n // 2))
    gaussian = np.fft.fftshift(np.exp(-(fx**2 + fy**2) / (cycles / np.sqrt(np.log(2))) ** 2))
    x = x - np.fft.ifft2(np.fft.fft2(x) * gaussian).real
    deviation = np.sqrt(np.abs(np.fft.ifft2(np.fft.fft2(x**2) * gaussian)))
    return (x / (0.2 + deviation))[border:-border, border:-border]


def filtered(image, border=32, scales=4, orientations=8, blocks=4):
    x = np.pad(image, border, mode="symmetric")
    n = len(x)
    fx, fy = np.meshgrid(np.arange(-n // 2, n // 2), np.arange(-n // 2, n // 2))
    radius, angle = np.sqrt(fx**2 + fy**2), np.angle(fx + 1j * fy)
    edges = np.linspace(0, len(image), blocks + 1).astype(int)
    features = []
    for scale in range(scales):
        for orientation in range(orientations):
            turned = angle + np.pi / orientations * orientation
            turned = turned + 2 * np.pi * (turned < -np.pi) - 2 * np.pi * (turned > np.pi)
            centre, width = 0.3 / 1.85**scale, 16 * orientations**2 / 32**2
            transfer = np.exp(-10 * 0.35 * (radius / n / centre - 1) ** 2 - 2 * width * np.pi * turned**2)
            amplitude = np.abs(np.fft.ifft2(np.fft.fft2(x) * np.fft.fftshift(transfer)))
            inner = amplitude[border:-border, border:-border]
            for column in range(blocks):
                for row in range(blocks):
                    block = inner[edges[row] : edges[row + 1], edges[column] : edges[column + 1]]
                    features.append(block.mean())
    return np.array(features)
