"""Training from scratch or from given weights, by recipes that give their command, hardware and result.

recipe ─┬─ pictures ─ batches ─ epochs ─┐
        └─ network, its sizes ─ task ───┴─ fit (Lightning) ─ run ─► model.safetensors
"""
