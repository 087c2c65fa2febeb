"""The training loop: recipes as values, batches, augmentation, optimizers and checkpoints."""
