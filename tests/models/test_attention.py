"""CBAM against the paper's formula, written out in NumPy."""

import numpy as np
import torch

from malpighi.models.attention import Cbam


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_is_the_published_formula():
    torch.manual_seed(0)
    attention = Cbam(4, reduction=2)
    x = torch.randn(1, 4, 3, 3)
    first, second = (layer.weight.detach().numpy()[:, :, 0, 0] for layer in (attention.channel[0], attention.channel[2]))
    biases = [layer.bias.detach().numpy() for layer in (attention.channel[0], attention.channel[2])]

    def mlp(v):
        return second @ np.maximum(first @ v + biases[0], 0) + biases[1]

    features = x[0].numpy()
    channels = sigmoid(mlp(features.mean((1, 2))) + mlp(features.max((1, 2))))
    features = features * channels[:, None, None]
    seen = np.pad(np.stack([features.mean(0), features.max(0)]), ((0, 0), (3, 3), (3, 3)))
    kernel, bias = attention.place.weight.detach().numpy()[0], attention.place.bias.item()
    places = [[(seen[:, y : y + 7, x : x + 7] * kernel).sum() + bias for x in range(3)] for y in range(3)]
    expected = features * sigmoid(np.array(places))
    np.testing.assert_allclose(attention(x)[0].detach().numpy(), expected, rtol=1e-4, atol=1e-6)
