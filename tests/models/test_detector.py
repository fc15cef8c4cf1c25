import sys

import numpy as np
import pytest
import torch

from malpighi.errors import DependencyError, RecipeError
from malpighi.models.boxes import BoxOptions, require_boxes_fit
from malpighi.models.detector import DetectorLoss, build_detector, torchvision_detection
from malpighi.training.checkpoint import load_weights, save_weights

KINDS = ("fcos", "retinanet")


def small(kind="fcos", channels=3, classes=2, encoder="regnetx_002"):
    torch.manual_seed(0)
    return build_detector(BoxOptions(kind=kind, encoder=encoder), channels, classes)


def target(classes=2, side=96):
    layers = np.zeros((2, classes, side, side), np.uint8)
    layers[0, 0, 20:50, 30:70] = 1
    return torch.from_numpy(layers)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("side", "channels"), [(96, 3), (100, 1)])
def test_a_step_and_a_prediction(kind, side, channels):
    detector = small(kind, channels)
    images = torch.rand(2, channels, side, side)
    loss = DetectorLoss(detector)(detector.train()(images), target(side=side))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in detector.parameters() if p.grad is not None)
    with torch.inference_mode():
        found = detector.eval()(images)
    assert len(found) == 2
    assert all(set(each) == {"boxes", "scores", "labels"} for each in found)


@pytest.mark.parametrize("kind", KINDS)
def test_losses_are_those_that_torchvision_computes(kind):
    """All classes known: the same number as the detector's own forward with a list of images and boxes."""
    detector = small(kind).train()
    images = torch.rand(2, 3, 96, 96)
    ours = DetectorLoss(detector)(detector(images), target())
    boxes = [
        {"boxes": torch.tensor([[30.0, 20.0, 70.0, 50.0]]), "labels": torch.tensor([0])},
        {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)},
    ]
    theirs = sum(detector.net(list(images), boxes).values())
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-4)


@pytest.mark.parametrize("training", [True, False])
def test_images_are_given_as_they_are(training):
    """torchvision would enlarge them to 800 pixels and scale their values."""
    detector = small().train(training)
    images = [torch.rand(3, 40, 50), torch.rand(3, 64, 30)]
    padded, _ = detector.net.transform(images)
    assert padded.image_sizes == [(40, 50), (64, 30)]
    assert padded.tensors.shape == (2, 3, 64, 64)
    assert torch.equal(padded.tensors[0, :, :40, :50], images[0])
    assert not padded.tensors[0, :, 40:].any()
    sizes = []
    detector.net.backbone.register_forward_hook(
        lambda module, inputs, outputs: sizes.extend(each.shape[-1] for each in outputs.values())
    )
    detector(torch.stack([images[1], images[1]]))
    assert sizes[:3] == [4, 2, 1]  # 30 is padded to 32: strides 8, 16, 32


def test_unlabelled_teaches_nothing_of_its_class():
    detector = small().train()
    unsaid = target()
    unsaid[:, 1] = 255
    DetectorLoss(detector)(detector(torch.rand(2, 3, 96, 96)), unsaid).backward()
    bias = detector.net.head.classification_head.cls_logits.bias.grad
    assert bias[0] != 0
    assert bias[1] == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_small_object_is_learnt_though_nobody_said_what_is_beside_it(kind):
    """Ten pixels wide, so that most of RetinaNet's anchors for it have their centres beside it: they pull as those of a large one."""
    pulls = []
    for side in (10, 40):
        detector = small(kind, classes=1).train()
        layers = torch.full((1, 1, 128, 128), 255, dtype=torch.uint8)
        layers[..., 50 : 50 + side, 50 : 50 + side] = 1
        DetectorLoss(detector)(detector(torch.rand(1, 3, 128, 128)), layers).backward()
        pulls.append(detector.net.head.classification_head.cls_logits.bias.grad.sum().item())
    assert pulls[1] < -0.2  # the class grows likelier
    assert pulls[0] == pytest.approx(pulls[1], rel=0.05)


def test_tiles_without_objects_are_learnt_from_too():
    detector = small().train()
    loss = DetectorLoss(detector)(detector(torch.rand(1, 3, 64, 64)), torch.zeros(1, 2, 64, 64, dtype=torch.uint8))
    loss.backward()
    assert torch.isfinite(loss)
    assert loss > 0


@pytest.mark.parametrize("kind", KINDS)
def test_weights_make_the_way_there_and_back(kind, tmp_path):
    detector, other = small(kind), build_detector(BoxOptions(kind=kind, encoder="regnetx_002"), 3, 2)
    save_weights(tmp_path, detector, {"boxes": "{}"})
    load_weights(tmp_path, other)
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        one, two = (each.train()(images).heads for each in (detector, other))
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ("resnet17", r"boxes\.encoder 'resnet17' is not a timm model"),
        ("vit_tiny_patch16_224", "needs feature maps at strides 8, 16 and 32"),
    ],
)
def test_encoders_that_will_not_do_are_named(encoder, message):
    with pytest.raises(RecipeError, match=message):
        small(encoder=encoder)


def test_a_torchvision_that_cannot_be_imported_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision.models.detection", None)
    monkeypatch.delattr(sys.modules["torchvision.models"], "detection", raising=False)
    with pytest.raises(DependencyError, match=r'boxes\.kind needs torchvision.*boxes\.kind = "none"'):
        torchvision_detection()


@pytest.mark.parametrize(("task", "rank"), [("vessels", 2), ("instances", 2), ("ftu", 3)])
def test_detectors_are_refused_where_they_have_nothing_to_do(task, rank):
    require_boxes_fit(BoxOptions(), task, rank)
    with pytest.raises(RecipeError, match=r'boxes\.kind = "fcos": a detector goes with'):
        require_boxes_fit(BoxOptions(kind="fcos"), task, rank)
