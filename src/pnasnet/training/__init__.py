"""The training loop shared by train, finetune and search: recipes, batches, optimizers and checkpoints."""
