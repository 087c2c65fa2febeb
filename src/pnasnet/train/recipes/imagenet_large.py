"""PNASNet-5 (large) on ImageNet, as TF-Slim's notes give it.

Command:  pnasnet train imagenet_large ILSVRC2012_img_train.tar ILSVRC2012_val/ -o runs/large --precision bfloat16
Data:     ILSVRC-2012, 1,281,167 training images; see docs/datasets.md for the layouts it may have.
Hardware: TF-Slim's notes: 100 replicas with 16 images each, synchronous. Here any number of GPUs that divides 1600,
          on several machines with --nodes. If the GPUs' memory is insufficient, use --parts and --checkpoint-cells:
          `--devices 8 --parts 10` computes 20 images at a time.
Result:   published for TF-Slim's checkpoint: 82.9 % top-1, 96.2 % top-5. Not run by this project.

From the comments and defaults of TF-Slim's `nasnet.py` and `pnasnet.py`: 250,000 steps (312 whole epochs: 249,600),
learning rate 0.015 x 100 replicas, 0.97 per 2.4 epochs, label smoothing 0.1, auxiliary weight 0.4, clipping at 10, L2
4e-5, momentum of the moving averages 0.9997, path keep probability 0.6, dropout 0.5. RMSProp's constants and the
averaging of weights (0.9999) are those of TF-Slim's Inception recipes; the notes do not state them.
"""

from ...architecture.zoo import find
from ...training.recipe import CropAndFlip, Recipe, RmsProp, Staircase

RECIPE = Recipe(
    spec=find("pnasnet_large").spec,
    stages=((331, 312),),
    batch_size=1600,
    schedule=Staircase(initial=0.015 * 100, factor=0.97, epochs=2.4),
    optimizer=RmsProp(decay=0.9, momentum=0.9, epsilon=1.0),
    augmentation=CropAndFlip(),
    label_smoothing=0.1,
    aux_weight=0.4,
    clip_norm=10.0,
    average_decay=0.9999,
    batch_norm_momentum=0.9997,
)
