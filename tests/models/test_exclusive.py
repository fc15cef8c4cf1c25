"""Independent logits of exclusive classes against torch.softmax with a background of logit 0."""

import pytest
import torch

from malpighi.models.exclusive import independent


def softmax(logits):
    return torch.cat([torch.zeros_like(logits[:, :1]), logits], 1).softmax(1)[:, 1:]


@pytest.mark.parametrize("shape", [(2, 1, 5, 5), (2, 3, 5, 5), (1, 5, 3, 4, 4), (4, 2)])
def test_sigmoids_are_the_softmax(shape):
    logits = 4 * torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(independent(logits).sigmoid(), softmax(logits))


def test_one_class_stays_as_it_is():
    logits = torch.randn(2, 1, 3, 3)
    assert independent(logits) is logits


def test_sure_logits_stay_finite_and_exact():
    """Of 200 against 0 and -200 the class is sure by e^200, which its logit must say and its slope not lose."""
    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
    found = independent(logits)
    torch.testing.assert_close(found, torch.tensor([[200.0, -400.0]]))  # 200 - log(1 + e^-200); -200 - log(1 + e^200)
    found[0, 0].backward()
    torch.testing.assert_close(logits.grad, torch.tensor([[1.0, 0.0]]))


def test_gradient_by_finite_differences():
    logits = torch.randn(2, 3, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(independent, logits)
