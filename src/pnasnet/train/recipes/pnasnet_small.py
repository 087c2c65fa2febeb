"""The model for photos that the package ships, on Tiny ImageNet.

Command:  pnasnet train pnasnet_small train.parquet validation.parquet -o runs/small --weights first.safetensors
Data:     Tiny ImageNet, 100,000 training and 10,000 validation images of 64x64 pixels in 200 classes.
Hardware: two CPU cores.
Result:   55.81 % of the validation images, from the weights of a shorter run. The mean of its weights and of a third
          run's ships, with 56.15 %; see src/pnasnet/data/pnasnet_small.md.
"""

from ...architecture.zoo import find
from ...training.recipe import Cosine, Muon, Recipe, ShiftAndFlip

RECIPE = Recipe(
    spec=find("pnasnet_small").spec,
    stages=((48, 8), (64, 3)),
    batch_size=128,
    schedule=Cosine(peak=0.05, warm_up=0.1),
    optimizer=Muon(momentum=0.9, decay=0.02, others=4.0),
    augmentation=ShiftAndFlip(shift=6, cutout=0),
    label_smoothing=0.1,
    clip_norm=5.0,
    average_decay=0.998,
    batch_norm_momentum=0.9,
)
