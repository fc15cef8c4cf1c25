"""The colour stage on tensors, any rank and device; same maps as `colour.apply_colour`, noise from torch's generator."""

from __future__ import annotations

import torch
from torch import Tensor

from malpighi.sampling.colour import Colour, equalise, kernel_side, toned
from malpighi.sampling.cutout import cut


def apply_colour(images: Tensor, colours: list[Colour]) -> Tensor:
    """Change a batch (B, C, *spatial) item by item; uint8 or float, dtype kept."""
    changed = images.clone()
    for i, colour in enumerate(colours):
        if not colour.nothing:
            changed[i] = _item(images[i], colour)
            if colour.holes is not None:
                cut(changed[i], colour.holes)
    return changed


def _item(image: Tensor, colour: Colour) -> Tensor:
    whole = not image.is_floating_point()
    if colour.tables is not None:
        tables = torch.as_tensor(colour.tables, device=image.device)
        image = torch.stack([table[channel.long()] for table, channel in zip(tables, image, strict=True)])
    values = image.float()
    low, high = (0.0, 255.0) if whole else (float(v) for v in values.aminmax())
    if not high > low:
        return image
    values = (values - low) / (high - low)
    if colour.blur:
        values = _blurred(values, colour.blur)
    if colour.clahe:
        values = _equalised(values, colour.clahe)
    values = toned(values.reshape(len(image), -1), colour, torch).reshape(image.shape)
    if colour.noise:
        generator = torch.Generator(image.device).manual_seed(colour.seed)
        values = values + torch.randn(values.shape, generator=generator, device=image.device) * colour.noise
    values = values * (high - low) + low
    return values.round().clamp(0, 255).to(image.dtype) if whole else values.to(image.dtype)


def _equalised(values: Tensor, limit: float) -> Tensor:
    """Intensities 0 … 1 of an 8-bit image, equalised on the CPU: its fields' histograms are no work for tensors."""
    image = (values * 255).round().byte().permute(1, 2, 0).contiguous().cpu().numpy()
    equalise(image, limit)
    return torch.as_tensor(image, device=values.device).permute(2, 0, 1) / 255


def _blurred(values: Tensor, sigma: float) -> Tensor:
    """Separable Gaussian along every spatial axis, borders mirrored as OpenCV's default does."""
    reach = kernel_side(sigma) // 2
    taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=values.device) / sigma) ** 2)
    taps = taps / taps.sum()
    for axis in range(1, values.ndim):
        n = values.shape[axis]
        index = torch.arange(-reach, n + reach, device=values.device).abs() % max(2 * (n - 1), 1)
        wide = values.index_select(axis, torch.minimum(index, 2 * (n - 1) - index).clamp(min=0))
        values = sum(taps[k] * wide.narrow(axis, k, n) for k in range(2 * reach + 1))
    return values
