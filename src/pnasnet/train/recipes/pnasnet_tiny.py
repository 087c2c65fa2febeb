"""The model that the package ships, on CIFAR-10: its first training.

Command:  pnasnet train pnasnet_tiny train.parquet test.parquet -o runs/first
Data:     CIFAR-10, 50,000 training and 10,000 test images of 32x32 pixels.
Hardware: two CPU cores.
Result:   89.24 % of the test images, in about 2 hours on an AMD EPYC (Zen 4); `pnasnet_tiny_longer` goes on from there.
"""

from dataclasses import replace

from ...zoo import find
from ..recipe import Cosine, Recipe, Sgd, ShiftAndFlip

RECIPE = Recipe(
    spec=replace(find("pnasnet_tiny").spec, weight_decay=3e-4),
    stages=((24, 9), (32, 18)),
    batch_size=64,
    schedule=Cosine(peak=0.1, warm_up=0.15),
    optimizer=Sgd(momentum=0.9, nesterov=True),
    augmentation=ShiftAndFlip(shift=4),
    label_smoothing=0.1,
    clip_norm=5.0,
    average_decay=0.998,
    batch_norm_momentum=0.9,
)
