import numpy as np
import pytest
import torch

from malpighi.models.instance_losses import InstanceLoss
from malpighi.models.outputs import Outputs
from malpighi.sampling.instance_targets import instance_targets

KINDS = ("distance", "flow")


def tile(kind, seed=0):
    labels = np.zeros((2, 16, 16), int)
    labels[:, 2:9, 3:8], labels[:, 9:14, 5:12] = 1, 2
    target = torch.from_numpy(instance_targets(labels, kind))
    torch.manual_seed(seed)
    return torch.randn(target.shape, requires_grad=True), target


@pytest.mark.parametrize("kind", KINDS)
def test_the_right_answer_costs_next_to_nothing_and_a_wrong_one_more(kind):
    logits, target = tile(kind)
    loss = InstanceLoss(kind)
    assert loss(Outputs(torch.logit(target, 1e-6)), target) < 0.01
    assert loss(Outputs(logits), target) > 0.5


def test_distance_by_hand():
    target = torch.tensor([[[[1.0, 0.0]], [[0.75, 0.0]]]])
    logits = torch.tensor([[[[50.0, -50.0]], [[0.0, 0.0]]]])
    # off by .25 inside and by .5 outside, half each, twice; the foreground is right
    assert InstanceLoss("distance")(Outputs(logits), target).item() == pytest.approx(2 * (0.25 + 0.5) / 2, abs=1e-5)


def test_flow_counts_within_objects_only():
    logits, target = tile("flow")
    changed = logits.detach().clone()
    changed[:, 1:] += 3.0 * (target[:, :1] == 0)
    loss = InstanceLoss("flow")
    assert loss(Outputs(changed), target).item() == pytest.approx(loss(Outputs(logits), target).item())


@pytest.mark.parametrize("kind", KINDS)
def test_what_nobody_said_counts_nowhere(kind):
    logits, target = tile(kind)
    target[:, :, :, 10:] = float("nan")
    loss = InstanceLoss(kind)(Outputs(logits), target)
    loss.backward()
    assert (logits.grad[:, :, :, 10:] == 0).all()
    assert logits.grad.abs().sum() > 0
    cut = InstanceLoss(kind)(Outputs(logits[..., :10]), target[..., :10])
    assert cut.item() == pytest.approx(loss.item(), rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_of_nothing_costs_nothing_and_has_a_gradient(kind):
    logits, target = tile(kind)
    loss = InstanceLoss(kind)(Outputs(logits), torch.full_like(target, float("nan")))
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_tile_has_a_finite_loss(kind):
    target = torch.from_numpy(instance_targets(np.zeros((1, 8, 8), int), kind))
    assert torch.isfinite(InstanceLoss(kind)(Outputs(torch.zeros_like(target)), target))


def test_deep_outputs_count_half_as_much_each():
    logits, target = tile("flow")
    other = torch.zeros_like(logits)
    loss = InstanceLoss("flow")
    one, two = loss(Outputs(logits), target), loss(Outputs(other), target)
    both = loss(Outputs(logits, (other,)), target)
    assert both.item() == pytest.approx(((one + 0.5 * two) / 1.5).item(), rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_descent_finds_the_layers(kind):
    logits, target = tile(kind)
    steps = torch.optim.Adam([logits], 0.3)
    for _ in range(60):
        steps.zero_grad()
        InstanceLoss(kind)(Outputs(logits), target).backward()
        steps.step()
    inside = target[:, 0] > 0.5
    assert ((torch.sigmoid(logits[:, 0]) > 0.5) == inside).all()
    assert (torch.sigmoid(logits[:, 1]) - target[:, 1])[inside].abs().mean() < 0.03


def test_half_precision_is_computed_in_full():
    logits, target = tile("distance")
    assert InstanceLoss("distance")(Outputs(logits.half()), target).dtype == torch.float32


def test_a_kind_without_layers_is_refused():
    with pytest.raises(ValueError, match="distance, flow"):
        InstanceLoss("none")
