"""The tiny model that the package ships, on CIFAR-10.

Command:  pnasnet train pnasnet_tiny train.parquet test.parquet -o runs/tiny
Data:     CIFAR-10, 50,000 training and 10,000 test images of 32x32 pixels.
Hardware: two CPU cores.
Result:   90.06 % of the test images, in 139 minutes on an AMD EPYC (Zen 4); see src/pnasnet/data/pnasnet_tiny.md.
"""

from ...architecture.zoo import find
from ...training.recipe import Cosine, Muon, Recipe, ShiftAndFlip

RECIPE = Recipe(
    spec=find("pnasnet_tiny").spec,
    stages=((24, 12), (32, 16)),
    batch_size=128,
    schedule=Cosine(peak=0.05, warm_up=0.1),
    optimizer=Muon(momentum=0.9, decay=0.03, others=4.0),
    augmentation=ShiftAndFlip(shift=4, cutout=14),
    label_smoothing=0.1,
    clip_norm=5.0,
    average_decay=0.998,
    batch_norm_momentum=0.9,
)
