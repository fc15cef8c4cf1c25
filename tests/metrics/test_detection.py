"""Average precision of labelled masks: by hand, by brute force, and against pycocotools' matches."""

import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from malpighi.errors import DataError
from malpighi.metrics.detection import Detections, Labelled
from malpighi.metrics.instances import Pairs

NONE = Labelled(np.zeros(0, int), np.zeros(0, int), np.zeros(0))


def found(*triples):
    """(class, confidence, mask) triples."""
    label, confidence, mask = zip(*triples, strict=True)
    return Labelled(np.array(label), np.array(mask), np.array(confidence, float))


def there(*pairs):
    """(class, mask) pairs."""
    label, mask = zip(*pairs, strict=True)
    return Labelled(np.array(label), np.array(mask))


def pairs_of(iou):
    """Masks of 100 pixels with these IoUs, which may not all be possible; the metric only reads the ratio."""
    iou = np.atleast_2d(np.asarray(iou, float))
    p, t = np.nonzero(iou)
    ratio = iou[p, t]
    return Pairs(np.full(iou.shape[0], 100.0), np.full(iou.shape[1], 100.0), p, t, 200 * ratio / (1 + ratio))


def one(iou, predicted, true, classes=2, **given):
    detections = Detections(classes)
    detections.add("a", predicted, true, pairs_of(iou), **given)
    return detections


def test_average_precision_by_hand():
    # sure and right, less sure and wrong, least sure and right; one of three is missed: 1/3 · 1 + 1/3 · 2/3
    iou = np.array([[0.9, 0, 0], [0, 0.2, 0], [0, 0, 0.7]])
    detections = one(iou, found((0, 0.9, 0), (0, 0.8, 1), (0, 0.7, 2)), there((0, 0), (0, 1), (0, 2)))
    assert detections.average_precisions() == pytest.approx([1 / 3 + 2 / 9, np.nan], nan_ok=True)
    assert detections.mean() == pytest.approx(5 / 9)
    assert detections.curve(0).best_f1 == pytest.approx((2 / 3, 0.7))


def test_precision_is_that_of_this_recall_or_above():
    iou = np.array([[0, 0], [0.9, 0], [0, 0.9]])  # wrong, right, right: precision 0, 1/2, 2/3 → 2/3 throughout
    detections = one(iou, found((0, 0.9, 0), (0, 0.8, 1), (0, 0.7, 2)), there((0, 0), (0, 1)))
    assert detections.mean() == pytest.approx(2 / 3)


def test_exactly_the_threshold_is_found():
    pairs = Pairs(np.array([8.0]), np.array([8.0]), np.array([0]), np.array([0]), np.array([6.0]))  # 6 / 10
    detections = Detections(1)
    detections.add("a", found((0, 1, 0)), there((0, 0)), pairs)
    assert detections.mean() == 1
    assert one([[0.5999]], found((0, 1, 0)), there((0, 0))).mean() == 0


def test_a_second_detection_of_a_mask_is_wrong():
    detections = one([[0.7], [0.9]], found((0, 0.9, 0), (0, 0.8, 1)), there((0, 0)))
    curve = detections.curve(0)
    assert curve.precision.tolist() == [1, 0.5]  # the surer one takes it, though the other fits better
    assert curve.recall.tolist() == [1, 1]


def test_a_detection_belongs_to_the_mask_it_fits_best():
    # the second one fits both, the first true mask better; that is taken, so it is wrong and the other stays unfound
    iou = np.array([[0.9, 0.0], [0.7, 0.65]])
    detections = one(iou, found((0, 0.9, 0), (0, 0.8, 1)), there((0, 0), (0, 1)))
    assert detections.curve(0).recall.tolist() == [0.5, 0.5]


def test_a_mask_with_several_labels_is_of_each():
    detections = one([[0.9]], found((0, 0.9, 0), (1, 0.8, 0)), there((0, 0), (1, 0)))
    assert detections.average_precisions().tolist() == [1, 1]
    assert detections.true.tolist() == [1, 1]


def test_another_class_on_the_same_mask_does_not_take_it():
    detections = one([[0.9]], found((1, 0.9, 0), (0, 0.1, 0)), there((0, 0)))
    assert detections.average_precisions() == pytest.approx([1, np.nan], nan_ok=True)


def test_classes_nobody_verified_are_dropped():
    detections = Detections(2)
    detections.add("a", found((0, 0.5, 0)), there((0, 0)), pairs_of([[0.9]]))
    detections.add("b", found((0, 0.9, 0), (1, 0.3, 0)), there((1, 0)), pairs_of([[0.9]]))  # class 0: not said
    assert detections.average_precisions().tolist() == [1, 1]
    assert detections.average_precisions(verified=False).tolist() == [0.5, 1]
    detections.add("c", found((0, 0.8, 0)), there((1, 0)), pairs_of([[0.9]]), verified=[0])  # said to be absent
    assert detections.average_precisions().tolist() == [0.5, 0.5]


def test_equal_confidences_are_one_step():
    for order in ([0, 1], [1, 0]):
        triples = [(0, 0.5, 0), (0, 0.5, 1)]
        detections = one([[0.9], [0.0]], found(*(triples[i] for i in order)), there((0, 0)))
        assert detections.mean() == 0.5


def test_nothing_found_and_nothing_there():
    detections = Detections(2)
    assert np.isnan(detections.mean())
    detections.add("a", NONE, there((0, 0)), Pairs(np.zeros(0), np.ones(1), np.zeros(0, int), np.zeros(0, int), np.zeros(0)))
    detections.add("b", NONE, NONE, Pairs(np.zeros(0), np.zeros(0), np.zeros(0, int), np.zeros(0, int), np.zeros(0)))
    assert detections.average_precisions() == pytest.approx([0, np.nan], nan_ok=True)
    assert np.isnan(detections.curve(0).best_f1[0])


def test_bad_input_is_named():
    with pytest.raises(DataError, match="predicted class 2; there are 2"):
        one([[0.9]], found((2, 0.9, 0)), there((0, 0)))
    with pytest.raises(DataError, match="no number"):
        one([[0.9]], found((0, np.nan, 0)), there((0, 0)))
    detections = one([[0.9]], found((0, 0.9, 0)), there((0, 0)))
    with pytest.raises(DataError, match="a is given twice"):
        detections.add("a", NONE, NONE, pairs_of([[0.9]]))
    with pytest.raises(DataError, match="IoU 0"):
        Detections(1, iou=0)


# -- against others ------------------------------------------------------------------------------------------------
SIDE, CLASSES = 48, 3


def scene(seed, images=8, cells=6):
    """Label images of squares, and of the same squares moved and now and then missing; labels and distinct confidences."""
    draw = np.random.default_rng(seed)
    out = []
    for _ in range(images):
        true, guess = np.zeros((SIDE, SIDE), int), np.zeros((SIDE, SIDE), int)
        for cell in range(cells):
            y, x = 16 * (cell // 3) + 3, 16 * (cell % 3) + 3
            dy, dx = draw.integers(-1, 3, 2)
            true[y : y + 9, x : x + 9] = cell + 1
            if draw.random() < 0.9:
                guess[y + dy : y + dy + 9, x + dx : x + dx + 9] = cell + 1
        labels = [(c, m) for m in range(cells) for c in range(CLASSES) if draw.random() < 0.4]
        held = [m for m in range(cells) if (guess == m + 1).any()]
        guesses = [
            (c, draw.random(), m) for m in held for c in range(CLASSES) if draw.random() < (0.9 if (c, m) in labels else 0.3)
        ]
        out.append((guess, true, guesses, labels, cells))
    return out


def masks_of(labels, count):
    return labels[None] == np.arange(1, count + 1)[:, None, None]


def scored(images):
    detections = Detections(CLASSES)
    for i, (guess, true, guesses, labels, count) in enumerate(images):
        p, t = masks_of(guess, count), masks_of(true, count)
        shared = np.einsum("pyx,tyx->pt", p.astype(int), t.astype(int))
        rows = np.nonzero(shared)
        pairs = Pairs(p.sum((1, 2)), t.sum((1, 2)), *rows, shared[rows])
        detections.add(str(i), found(*guesses), there(*labels), pairs)
    return detections


def brute_force(images, label):
    """Average precision as its definition reads, one detection after the other; every class is verified everywhere."""
    ranked = sorted(((s, i, m) for i, image in enumerate(images) for c, s, m in image[2] if c == label), reverse=True)
    taken, hits = set(), []
    for _, i, m in ranked:
        guess, true, _, labels, _ = images[i]
        mine, best, where = guess == m + 1, 0.0, None
        for c, t in labels:
            overlap = (mine & (true == t + 1)).sum() / (mine | (true == t + 1)).sum()
            if c == label and overlap > best:
                best, where = overlap, (i, t)
        hits.append(best >= 0.6 and where not in taken)
        if hits[-1]:
            taken.add(where)
    total = sum(c == label for image in images for c, _ in image[3])
    points = [(sum(hits[: n + 1]) / total, sum(hits[: n + 1]) / (n + 1)) for n in range(len(hits))]
    area, before = 0.0, 0.0
    for recall, _ in points:
        if recall > before:
            area += (recall - before) * max(p for r, p in points if r >= recall)
            before = recall
    return area


def coco_eval(images):
    truth = {"info": {}, "images": [], "annotations": [], "categories": [{"id": c + 1} for c in range(CLASSES)]}
    results = []
    from pycocotools import mask as coco

    for i, (guess, true, guesses, labels, count) in enumerate(images, 1):
        p, t = ([coco.encode(np.asfortranarray(m.astype(np.uint8))) for m in masks_of(side, count)] for side in (guess, true))
        truth["images"].append({"id": i, "height": SIDE, "width": SIDE})
        for c, m in labels:
            number = len(truth["annotations"]) + 1
            box = {"area": float(coco.area(t[m])), "bbox": coco.toBbox(t[m]).tolist(), "iscrowd": 0}
            truth["annotations"].append({"id": number, "image_id": i, "category_id": c + 1, "segmentation": t[m], **box})
        results += [{"image_id": i, "category_id": c + 1, "segmentation": p[m], "score": s} for c, s, m in guesses]
    with contextlib.redirect_stdout(io.StringIO()):
        data = COCO()
        data.dataset = truth
        data.createIndex()
        evaluation = COCOeval(data, data.loadRes(results), "segm")
        evaluation.params.iouThrs = np.array([0.6])
        evaluation.params.maxDets = [10_000]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


@pytest.mark.parametrize("seed", range(4))
def test_is_brute_force(seed):
    images = scene(seed)
    wanted = [brute_force(images, c) for c in range(CLASSES)]
    assert scored(images).average_precisions(verified=False) == pytest.approx(wanted, abs=1e-12)
    assert min(wanted) > 0.05
    assert max(wanted) < 1


@pytest.mark.parametrize("seed", range(4))
def test_is_pycocotools(seed):
    """Its matches, ranked by its scores, are ours one by one; its 101 points of recall come near our area under all."""
    images = scene(seed, images=20)
    ours, theirs = scored(images), coco_eval(images)
    for c in range(CLASSES):
        parts = [e for e in theirs.evalImgs if e and e["category_id"] == c + 1]
        score = np.concatenate([e["dtScores"] for e in parts])
        right = np.concatenate([e["dtMatches"][0] > 0 for e in parts])[np.argsort(-score)]
        curve = ours.curve(c, verified=False)
        assert curve.true == sum(len(e["gtIds"]) for e in parts)
        assert curve.confidence == pytest.approx(np.sort(score)[::-1])
        np.testing.assert_allclose(curve.recall, np.cumsum(right) / curve.true)
        np.testing.assert_allclose(curve.precision, np.cumsum(right) / np.arange(1, len(right) + 1))
        assert curve.average_precision == pytest.approx(theirs.eval["precision"][0, :, c, 0, 0].mean(), abs=0.015)


def test_the_order_of_images_says_nothing():
    images = scene(9)
    np.testing.assert_array_equal(scored(images).average_precisions(), scored(images[::-1]).average_precisions())
