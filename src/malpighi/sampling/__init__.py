"""From cases to training batches: layouts, folds, boxes, targets, intensity, augmentation, dataset."""
