"""A few minutes of CIFAR-10 on two CPU cores: to see that everything works, or to compare cells.

Command:  pnasnet train cifar10_short train.parquet test.parquet -o runs/short
Data:     CIFAR-10, 50,000 training and 10,000 test images of 32x32 pixels.
Hardware: two CPU cores.
Result:   54.69 % of the test images (one run), in 6.5 minutes on an AMD EPYC (Zen 4).
"""

from dataclasses import replace

from ...training.recipe import Cosine, Sgd, ShiftAndFlip
from .pnasnet_tiny import RECIPE as TINY

RECIPE = replace(
    TINY,
    spec=replace(TINY.spec, filters=24, weight_decay=3e-4),
    stages=((16, 2), (24, 1)),
    batch_size=64,
    schedule=Cosine(peak=0.1, warm_up=0.3),
    optimizer=Sgd(momentum=0.9, nesterov=True),
    augmentation=ShiftAndFlip(shift=4),
)
