"""PNASNet-5 (N=3, F=48) on CIFAR-10, with the hyper-parameters that TF-Slim's notes give for CIFAR.

Command:  pnasnet train cifar10 train.parquet test.parquet -o runs/cifar10
Data:     CIFAR-10, 50,000 training and 10,000 test images of 32x32 pixels.
Hardware: one GPU; on two CPU cores an epoch takes hours.
Result:   published: 3.41 +- 0.09 % errors without cutout (Liu et al., 2018, table 3). Not run by this project.

600 epochs (937,500 steps of 32 images), one cosine from 0.025, clipping at 5, L2 5e-4, path keep probability 0.6,
auxiliary weight 0.4, momentum of the moving averages 0.9; no cutout, as in the paper. The notes name neither Nesterov's
momentum nor an average of the weights (0.999): both are this project's choice.
"""

from ...architecture.zoo import find
from ...training.recipe import Cosine, Recipe, Sgd, ShiftAndFlip

RECIPE = Recipe(
    spec=find("pnasnet_cifar").spec,
    stages=((32, 600),),
    batch_size=32,
    schedule=Cosine(peak=0.025),
    optimizer=Sgd(momentum=0.9, nesterov=True),
    augmentation=ShiftAndFlip(shift=4),
    aux_weight=0.4,
    clip_norm=5.0,
    average_decay=0.999,
    batch_norm_momentum=0.9,
)
