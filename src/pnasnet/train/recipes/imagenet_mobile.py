"""PNASNet-5 (mobile) on ImageNet, as TF-Slim's notes give it.

Command:  pnasnet train imagenet_mobile ILSVRC2012_img_train.tar ILSVRC2012_val/ -o runs/mobile --precision bfloat16
Data:     ILSVRC-2012, 1,281,167 training images; see docs/datasets.md for the layouts it may have.
Hardware: TF-Slim's notes: 50 replicas with 32 images each, synchronous. Here any number of GPUs that divides 1600.
Result:   published for TF-Slim's checkpoint: 74.2 % top-1, 91.9 % top-5. Not run by this project.

It differs from the large network's recipe in the learning rate (0.04 x 50 replicas), path dropout (none: the network's
keep probability is 1), and image size (224x224). The rate falls every 2.4 epochs, as in TF-Slim's notes on the
published checkpoint; the paper (section 5.5) has 2.2.
"""

from dataclasses import replace

from ...architecture.zoo import find
from ...training.recipe import Staircase
from .imagenet_large import RECIPE as LARGE

RECIPE = replace(
    LARGE,
    spec=find("pnasnet_mobile").spec,
    stages=((224, 312),),
    schedule=Staircase(initial=0.04 * 50, factor=0.97, epochs=2.4),
)
