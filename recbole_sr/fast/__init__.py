"""The fast path: RecBole's work on tensors instead of Python objects, used by ``sr_fast: True``.

Each module replaces one thing, falls back to RecBole's own where it cannot serve, and says so. The
room imports RecBole and ``recbole_compat``, and never knows the method: training is the same with
it and without, but for speed and rounding.

==================  =============================================================================
``preparation.py``  which data loaders serve an experiment: ours, or RecBole's and why
``pairs.py``        a set of (row, item) pairs that is looked up by binary search
``sampler.py``      negative items for a batch of users, drawn as RecBole draws them
``loader.py``       training batches
``ranking.py``      evaluation batches of many users, and their best items
``propagation.py``  the product with a symmetric adjacency matrix, and the mean of its powers
``optimizer.py``    fused optimisers, and gradients that touch only the batch's rows
==================  =============================================================================
"""
