"""The sum: parsing, weights, unlabelled voxels, deeper targets, deep supervision, precision."""

import pytest
import torch

from malpighi.annotations.base import UNLABELLED as ANNOTATION_UNLABELLED
from malpighi.errors import RecipeError
from malpighi.models.build import ModelOptions
from malpighi.models.loss_fit import require_loss_fits
from malpighi.models.losses import EXCLUSIVE, TERMS, UNLABELLED, LossOptions, build_loss, central
from malpighi.models.outputs import Outputs

SHAPES = [(2, 2, 8, 8), (2, 2, 4, 6, 6), (2, 2, 1, 6, 6)]


def _pair(shape, seed=0):
    torch.manual_seed(seed)
    return torch.randn(shape), torch.randint(0, 2, shape, dtype=torch.uint8)


def _made(name, **options):
    return build_loss(LossOptions(name, **options), exclusive=name in EXCLUSIVE)


APART = sorted(TERMS.keys() - EXCLUSIVE)


def test_unlabelled_is_the_annotations_number():
    assert UNLABELLED == ANNOTATION_UNLABELLED


@pytest.mark.parametrize(
    ("name", "terms"),
    [
        ("bce+dice", ((1, "bce"), (1, "dice"))),
        ("bce", ((1, "bce"),)),
        (" focal + dice + 0.01*boundary + 1.0 surface", ((1, "focal"), (1, "dice"), (0.01, "boundary"), (1, "surface"))),
        (".5 * boundary-dou + 1e-3*cldice", ((0.5, "boundary-dou"), (0.001, "cldice"))),
    ],
)
def test_names_are_weighted_sums(name, terms):
    assert LossOptions(name).terms == terms


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dise", "did you mean 'dice'"),
        ("bce+", "cannot read ''"),
        ("bce dice", "cannot read"),
        ("-1*dice", "cannot read"),
        ("zzzzz", "known: bce"),
    ],
)
def test_wrong_names_say_what_would_do(name, message):
    with pytest.raises(RecipeError, match=message):
        LossOptions(name)


@pytest.mark.parametrize(("field", "value"), [("tversky_beta", -1), ("smooth", 0), ("focal_alpha", 1.5)])
def test_numbers_out_of_range_are_refused(field, value):
    with pytest.raises(RecipeError, match=rf"loss\.{field} {value}: "):
        LossOptions(**{field: value})


def test_sum_weighs_its_terms():
    logits, target = _pair((2, 2, 8, 8))
    one = {name: build_loss(LossOptions(name))(Outputs(logits), target) for name in ("bce", "dice", "boundary")}
    total = build_loss(LossOptions("bce + 3*dice + 0.1*boundary"))(Outputs(logits), target)
    assert total.item() == pytest.approx((one["bce"] + 3 * one["dice"] + 0.1 * one["boundary"]).item(), rel=1e-6)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", APART)
def test_unlabelled_voxels_change_neither_loss_nor_gradient(name, shape):
    logits, target = _pair(shape, seed=2)
    target[:, 1] = UNLABELLED  # one class nobody spoke of
    target[0, 0, ..., :2] = UNLABELLED
    logits.requires_grad_()
    loss = _made(name)
    value = loss(Outputs(logits), target)
    value.backward()
    assert torch.all(logits.grad[target == UNLABELLED] == 0)
    assert torch.any(logits.grad != 0)
    changed = logits.detach().clone()
    changed[target == UNLABELLED] = 50
    assert loss(Outputs(changed), target).item() == pytest.approx(value.item(), abs=1e-6)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", sorted(EXCLUSIVE))
def test_voxels_without_any_label_change_no_loss_of_exclusive_classes(name, shape):
    logits, target = _pair(shape, seed=2)
    target[0, :, ..., :2] = UNLABELLED
    logits.requires_grad_()
    value = _made(name)(Outputs(logits), target)
    value.backward()
    assert torch.all(logits.grad[0, ..., :2] == 0)
    assert torch.any(logits.grad != 0)
    changed = logits.detach().clone()
    changed[0, ..., :2] = 50
    assert _made(name)(Outputs(changed), target).item() == pytest.approx(value.item(), abs=1e-6)


@pytest.mark.parametrize("name", sorted(TERMS))
def test_soft_targets_of_zeros_and_ones_are_hard_ones(name):
    logits, target = _pair((2, 2, 8, 8), seed=3)
    target[0, :, :2] = UNLABELLED
    soft = target.float().masked_fill(target == UNLABELLED, torch.nan)
    assert _made(name)(Outputs(logits), soft).item() == _made(name)(Outputs(logits), target).item()


@pytest.mark.parametrize("name", sorted(TERMS))
def test_class_weights_are_relative_and_drop_what_has_none(name):
    logits, target = _pair((2, 3, 8, 8), seed=4)
    target[:, 1:] *= 1 - target[:, :1]
    target[:, 2] *= 1 - target[:, 1]
    value = _made(name)(Outputs(logits), target).item()
    everywhere = 4 if name in EXCLUSIVE else 3
    assert _made(name, class_weights=(2.0,) * everywhere)(Outputs(logits), target).item() == pytest.approx(value, rel=1e-5)
    if name not in EXCLUSIVE:
        first, last = (_made(name)(Outputs(logits[:, k : k + 1]), target[:, k : k + 1]).item() for k in (0, 2))
        alone = _made(name, class_weights=(0.0, 0.0, 5.0))(Outputs(logits), target).item()
        assert alone == pytest.approx(last, rel=1e-5)
        both = _made(name, class_weights=(1.0, 0.0, 3.0))(Outputs(logits), target).item()
        assert both == pytest.approx((first + 3 * last) / 4, rel=1e-5)  # every class has as many labelled voxels


@pytest.mark.parametrize(("weights", "exclusive"), [((1.0,), False), ((1.0, 2.0, 3.0), False), ((1.0,) * 4, True)])
def test_class_weights_of_another_number_of_classes_are_refused(weights, exclusive):
    logits, target = _pair((1, 2, 4, 4))
    loss = build_loss(LossOptions("bce", class_weights=weights), exclusive=exclusive)
    with pytest.raises(RecipeError, match="the classes are 2; give 2 numbers"):
        loss(Outputs(logits), target)


def test_terms_of_exclusive_classes_need_them():
    with pytest.raises(RecipeError, match=r"model\.exclusive = true"):
        build_loss(LossOptions("bce + ce"))
    with pytest.raises(RecipeError, match=r"model\.exclusive = true"):
        require_loss_fits(LossOptions("bce + ce"), ModelOptions())
    require_loss_fits(LossOptions("bce + ce"), ModelOptions(exclusive=True))


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (LossOptions(deep_weight=0.4), r"set model\.deep or model\.auxiliary"),
        (LossOptions(deep_filled=True), r"set model\.deep or model\.auxiliary"),
        (LossOptions(tile_weight=0.5), r"set model\.tile_class"),
        (LossOptions(tells_weight=0.5), r"set model\.tells"),
    ],
)
def test_weights_of_heads_that_are_not_there_are_refused(loss, message):
    with pytest.raises(RecipeError, match=message):
        require_loss_fits(loss, ModelOptions())


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "dice", "smoothing": 0.1},
        {"smoothing": 1.0},
        {"class_weights": (0.0,)},
        {"lovasz_by_tile": True},
        {"focal_gamma": 3.0},
        {"name": "focal", "tversky_beta": 0.5},
        {"name": "dice + tversky", "edge_weight": 2.0},
        {"skeleton_steps": 5},
    ],
)
def test_numbers_that_do_nothing_are_refused(fields):
    with pytest.raises(RecipeError, match=rf"loss\.{list(fields)[-1]} "):
        LossOptions(**fields)


def test_other_terms_see_the_softmax_of_exclusive_classes():
    logits, target = _pair((2, 3, 6, 6), seed=5)
    softmax = torch.cat([torch.zeros(2, 1, 6, 6), logits], 1).softmax(1)[:, 1:]
    expected = build_loss(LossOptions("bce + dice"))(Outputs(torch.logit(softmax)), target).item()
    assert build_loss(LossOptions("bce + dice"), exclusive=True)(Outputs(logits), target).item() == pytest.approx(
        expected, rel=1e-5
    )
    parts = [build_loss(LossOptions(name), exclusive=True)(Outputs(logits), target).item() for name in ("ce", "dice")]
    both = build_loss(LossOptions("ce + 2*dice"), exclusive=True)(Outputs(logits), target).item()
    assert both == pytest.approx(parts[0] + 2 * parts[1], rel=1e-6)


@pytest.mark.parametrize("name", sorted(TERMS))
@pytest.mark.parametrize("fill", [0, 1, UNLABELLED])
@pytest.mark.parametrize("size", [-100.0, -1.0, 0.0, 100.0])
def test_empty_full_and_unlabelled_targets_have_finite_gradients(name, fill, size):
    logits = torch.full((1, 1, 4, 4, 4), size, requires_grad=True)
    value = _made(name)(Outputs(logits), torch.full((1, 1, 4, 4, 4), fill, dtype=torch.uint8))
    value.backward()
    assert torch.isfinite(value)
    assert torch.all(torch.isfinite(logits.grad))
    if fill == UNLABELLED:
        assert value.item() == 0
        assert torch.all(logits.grad == 0)


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("name", sorted(TERMS))
def test_right_answers_cost_less_than_unsure_and_those_less_than_wrong_ones(name, rank):
    target = torch.zeros(1, 1, *(6, 12, 12)[-rank:], dtype=torch.uint8)
    target[..., 4:8, 3:9] = 1
    loss = _made(name)
    right = (target.float() * 2 - 1) * 20
    best, unsure, worst = (loss(Outputs(logits), target).item() for logits in (right, right * 0.01, -right))
    assert best < unsure < worst
    if name != "boundary":
        assert best == pytest.approx(0, abs=1e-3)
    wanted = torch.zeros_like(target, dtype=torch.float32, requires_grad=True)
    loss(Outputs(wanted), target).backward()
    assert wanted.grad[..., 6, 6].sum() <= 0 <= wanted.grad[..., 0, 0].sum()  # up inside, down outside


@pytest.mark.parametrize("name", sorted(TERMS))
def test_losses_run_in_float32_under_autocast_and_take_half_logits(name):
    logits, target = _pair((1, 1, 4, 8, 8))
    loss = _made(name)
    expected = loss(Outputs(logits.bfloat16().float()), target).item()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss(Outputs(logits.bfloat16()), target)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(expected, rel=1e-6)
    assert torch.isfinite(loss(Outputs(logits.half() * 100), target))


def test_deeper_targets_are_cut_to_their_middle():
    target = torch.arange(5.0).reshape(1, 1, 5, 1, 1).expand(1, 1, 5, 2, 2)
    assert central(target, (1, 1, 1, 2, 2)).unique().tolist() == [2]
    assert central(target, (1, 1, 3, 2, 2)).unique().tolist() == [1, 2, 3]
    assert central(target, target.shape) is target
    assert central(target[:, :, :4], (1, 1, 1, 2, 2)).unique().tolist() == [1]


@pytest.mark.parametrize("shape", [(1, 1, 7, 2, 2), (2, 1, 1, 2, 2), (1, 2, 1, 2, 2)])
def test_targets_that_do_not_hold_the_logits_are_refused(shape):
    with pytest.raises(ValueError, match="does not hold"):
        central(torch.zeros(1, 1, 5, 2, 2), shape)


def test_loss_of_a_network_on_slices_is_that_of_the_middle_slice():
    logits, target = _pair((2, 1, 1, 8, 8))
    thick = torch.randint(0, 2, (2, 1, 5, 8, 8), dtype=torch.uint8)
    thick[:, :, 2:3] = target
    loss = build_loss(LossOptions("focal+dice+surface"))
    assert loss(Outputs(logits), thick).item() == loss(Outputs(logits), target).item()


def test_deep_outputs_count_half_and_a_quarter():
    logits, target = _pair((1, 1, 4, 4, 4))
    loss = build_loss(LossOptions("bce"))
    alone = [loss(Outputs(found), target).item() for found in (logits, -logits, logits * 0)]
    together = loss(Outputs(logits, deep=(-logits, logits * 0)), target).item()
    assert together == pytest.approx((alone[0] + alone[1] / 2 + alone[2] / 4) / 1.75, rel=1e-6)


def test_deep_weight_is_added_to_the_loss():
    logits, target = _pair((1, 1, 4, 4))
    loss = build_loss(LossOptions("bce", deep_weight=0.4))
    alone = [loss(Outputs(found), target).item() for found in (logits, -logits, logits * 0)]
    together = loss(Outputs(logits, deep=(-logits, logits * 0)), target).item()
    assert together == pytest.approx(alone[0] + 0.4 * (alone[1] + alone[2]), rel=1e-6)


@pytest.mark.parametrize("soft", [False, True])
def test_deep_outputs_learn_from_tiles_that_hold_some_of_the_class(soft):
    logits, target = _pair((3, 2, 4, 4), seed=6)
    target[0, 0] = target[1, 1] = target[2] = 0
    target[0, 1, 0, 0] = target[1, 0, 0, 0] = 1
    target[0, 1, 1, 1] = UNLABELLED
    if soft:
        target = target.float().masked_fill(target == UNLABELLED, torch.nan)
    options = LossOptions("bce", deep_weight=1.0, deep_filled=True)
    deep = torch.randn(3, 2, 4, 4, requires_grad=True)
    total = build_loss(options)(Outputs(logits, deep=(deep,)), target)
    plain = build_loss(LossOptions("bce"))
    picked = torch.stack([deep[0, 1], deep[1, 0]])[:, None]
    wanted = torch.stack([target[0, 1], target[1, 0]])[:, None]
    expected = plain(Outputs(logits), target) + plain(Outputs(picked), wanted)
    assert total.item() == pytest.approx(expected.item(), rel=1e-6)
    total.backward()
    assert torch.all(deep.grad[2] == 0)
    assert torch.all(deep.grad[0, 0] == 0)
